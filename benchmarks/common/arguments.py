"""The arguments that several commands share."""

from __future__ import annotations

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path


def command_parser(command: str, description: str | None) -> ArgumentParser:
    """Return the parser of a command, such as `hour_nas.ablations`."""
    prog = f"python -m benchmarks.{command}"
    return ArgumentParser(prog=prog, description=description, formatter_class=RawDescriptionHelpFormatter)


def add_seed(parser: ArgumentParser) -> None:
    """Add `--seed`, the one seed of a command."""
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")


def add_seeds(parser: ArgumentParser, default: Sequence[int]) -> None:
    """Add `--seeds`, a list of seeds."""
    text = f"seeds, one run for each (default: {' '.join(map(str, default))})"
    parser.add_argument("--seeds", type=int, nargs="+", default=list(default), help=text)


def add_seed_count(parser: ArgumentParser, default: int, of: str = "") -> None:
    """Add `--seeds`, the number of seeds; they count from 0.

    Args:
        of: the part of the command that takes the seeds, for instance ` of FTSO`.
    """
    parser.add_argument("--seeds", type=int, default=default, help=f"number of seeds{of}, from 0 (default: {default})")


def add_run_options(parser: ArgumentParser, out: str) -> None:
    """Add `--out`, the folder of the run folders, and `--set`, the changes of the recipe."""
    text = f"folder of the run folders; a repeated command continues unfinished runs (default: {out})"
    parser.add_argument("--out", type=Path, default=Path(out), help=text)
    text = "change a value of the recipe, such as training.epochs=2; repeatable"
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE", help=text)


def add_npz(parser: ArgumentParser) -> None:
    """Add `--npz`, a file of images that replaces the digits."""
    parser.add_argument("--npz", type=Path, metavar="FILE", help="images of an .npz data set (default: the digits)")


def add_changes(parser: ArgumentParser) -> None:
    """Add `--set`, changes of all recipes of a command."""
    text = "change a value of all recipes, such as data.fraction=0.3; repeatable"
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE", help=text)


def add_threads(parser: ArgumentParser) -> None:
    """Add `--threads`, the torch threads of a plain loop."""
    cores = os.cpu_count() or 1
    text = f"torch threads of the plain loop (default: {cores}, the number of cores)"
    parser.add_argument("--threads", type=int, default=cores, help=text)

"""The arguments that several commands share."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from search_spaces.validation import read_yaml


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
    """Add `--out`, the folder of the run folders, and `--set` and `--training`, the changes of the recipe."""
    text = f"folder of the run folders; a repeated command continues unfinished runs (default: {out})"
    parser.add_argument("--out", type=Path, default=Path(out), help=text)
    text = "change a value of the recipe, such as training.epochs=2; repeatable"
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="PATH=VALUE", help=text)
    text = "a YAML file of settings of `training` in place of the paper's; its run folders have a folder of its name"
    parser.add_argument("--training", type=Path, metavar="FILE", help=text)


def parse_run_options(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """Parse the options of `add_run_options`, with the settings of `--training` among the changes of the recipe.

    Each training has run folders of its own, so that the command continues one and keeps the others.
    """
    options = parser.parse_args(arguments)
    if options.training is not None:
        if not options.training.is_file():
            parser.error(f"--training needs a file, and there is none at {options.training}")
        settings = read_yaml(options.training.read_text(encoding="utf-8"), str(options.training))
        options.changes = [f"training.{key}={json.dumps(value)}" for key, value in settings.items()] + options.changes
        options.out /= options.training.stem
    return options


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

"""The Markdown that every command prints: a heading with all that a repetition needs, tables, and links to plots."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raynas.runtime.process import cpu_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("raynas", "torch", "ray", "pymoo", "numpy", "scipy")
FIGURES = Path(__file__).parents[1] / "figures"


def print_heading(title: str, seeds: str) -> None:
    """Print the title, the command, the machine, the versions and the seeds."""
    main = sys.modules["__main__"]
    module = main.__spec__.name.removesuffix(".__main__") if main.__spec__ else Path(sys.argv[0]).name
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    print(f"## {title}\n")
    print(f"- command: `{' '.join(['python', '-m', module, *sys.argv[1:]])}`")
    print(f"- machine: {cpu_model()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"- versions: Python {platform.python_version()}, {packages}")
    print(f"- seeds: {seeds}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table whose columns are aligned in plain text."""
    lines = [list(columns), *([str(cell).replace("|", r"\|") for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in [lines[0], ["-" * width for width in widths], *lines[1:]]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    print()


def save_figure(figure: Figure, name: str, title: str) -> None:
    """Write a plot to `benchmarks/figures` and print its link."""
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=100)
    print_figure_link(name, title)


def print_figure_link(name: str, title: str) -> None:
    """Print the Markdown link of a picture for a page in `benchmarks/results`."""
    print(f"![{title}](../figures/{name}.png)\n")


def spread(values: Iterable[float], decimals: int) -> str:
    """Return mean ± population standard deviation as text."""
    array = np.array(list(values), dtype=float)
    return f"{array.mean():.{decimals}f} ± {array.std():.{decimals}f}"

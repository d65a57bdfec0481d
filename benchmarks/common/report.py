"""How every benchmark prints: a heading with what is needed to run it again, tables in Markdown, and plots beside."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("raynas", "torch", "ray", "pymoo", "numpy", "scipy")


def heading(title: str, seeds: str) -> None:
    """Print the title, the command, the machine, the versions and the seeds."""
    main = sys.modules["__main__"]
    module = main.__spec__.name if main.__spec__ else Path(sys.argv[0]).name
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    print(f"## {title}\n")
    print(f"- command: `{' '.join(['python', '-m', module, *sys.argv[1:]])}`")
    print(f"- machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"- versions: Python {platform.python_version()}, {packages}")
    print(f"- seeds: {seeds}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table whose columns are aligned in plain text, too."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(columns), *lines]) for column in range(len(columns))]
    for line in [list(columns), ["-" * width for width in widths], *lines]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    print()


def picture(figure: Figure, name: str, title: str) -> None:
    """Write a plot to `benchmarks/figures` and print the Markdown link that a page in `benchmarks/results` needs."""
    folder = Path(__file__).parents[1] / "figures"
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=100)
    print(f"![{title}](../figures/{name}.png)\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()

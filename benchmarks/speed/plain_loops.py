"""Run the algorithm of a recipe as a plain loop: one process, PyTorch and pymoo, without Ray.

    python -m benchmarks.speed.plain_loops RECIPE --out FILE

Networks, images and augmentation are raynas's. The algorithms are written anew, as loops over architectures. FILE gets
JSON: `architecture`, `one_shot_top1`, and `test_top1` if the method trains its network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.arguments import add_changes, add_threads, command_parser
from benchmarks.speed.plain_ftso import ftso
from benchmarks.speed.plain_search import pad_nas, spos
from benchmarks.speed.plain_steps import Task, train_stand_alone
from raynas.recipe.recipe import Recipe
from search_spaces import Architecture

METHODS: dict[str, Callable[[Task], tuple[Architecture, float]]] = {"pad-nas": pad_nas, "spos": spos, "ftso": ftso}
"""The plain loop of each method: its network, and the best one-shot accuracy in per cent."""


def run_plainly(recipe: Recipe, layout: torch.memory_format) -> dict[str, Any]:
    """Return the network that the plain loop finds, and its accuracies in per cent."""
    task, method = Task.of(recipe, layout), recipe.method["name"]
    architecture, one_shot_top1 = METHODS[method](task)
    test_top1 = train_stand_alone(task, architecture) if method == "ftso" else None
    return {"architecture": str(architecture), "one_shot_top1": one_shot_top1, "test_top1": test_top1}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("speed.plain_loops", __doc__)
    parser.add_argument("recipe", help="a file, or the name of a recipe that ships with raynas")
    parser.add_argument("--out", type=Path, required=True, help="the file of the result")
    add_changes(parser)
    add_threads(parser)
    parser.add_argument("--channels-last", action="store_true", help="networks and images in channels-last")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    result = run_plainly(Recipe.read(options.recipe, options.changes), layout)
    options.out.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Networks of equal size: the channels that give a genotype the parameters of another network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from raynas.interfaces.costs import costs_of
from raynas.recipe.recipe import Recipe
from raynas.reporting.terminal import Live
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan
from search_spaces import load
from search_spaces.cell.space import CellSpace
from tuners.darts.cells import edges_by_node

MOST_CHANNELS = 64


def random_architecture(space: CellSpace, seed: int) -> str:
    """Draw two inputs of every node, and an operation for each of them (HM-NAS table 6)."""
    generator = np.random.default_rng(seed)
    values = [0] * len(space.choices)
    for edges in edges_by_node(space):
        for edge in generator.choice(edges, size=2, replace=False):
            values[edge] = 1 << int(generator.integers(len(space.choices[edge].options)))
    return str(space.architecture(values))


def channels_for(space: dict[str, Any], text: str, params: float) -> int:
    """Return the even number of channels at which the network of a text has the nearest number of parameters.

    Args:
        space: name and settings of a space of cells.
    """
    name, settings = space["name"], {key: value for key, value in space.items() if key != "name"}

    def distance(channels: int) -> float:
        sized = load(name, **{**settings, "channels": channels})
        return abs(float(costs_of(sized, None).cost([sized.parse(text)])["params"][0]) - params)

    return min(range(2, MOST_CHANNELS + 1, 2), key=distance)


def train_at_size(recipe: Recipe, text: str, params: float, out: Path) -> dict[str, Any]:
    """Train the network of a text stand-alone by the recipe's `fit`, at about this number of parameters.

    Returns:
        The figures of the network: top-1 on the test images in per cent, and its costs.
    """
    channels = channels_for(recipe.space, text, params)
    sized = Recipe.read({**recipe.json_value(), "method": "fit"}, [f"space.channels={channels}"])
    with open_study(plan(sized), RunFolder(out), Live()) as study:
        return asdict(study.fit("network", study.space.parse(text), sized.fit, None))

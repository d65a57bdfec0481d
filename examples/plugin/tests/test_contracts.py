"""The space and the method of the plug-in keep raynas's contracts. Run by `pytest` in this folder."""

from pathlib import Path

import search_spaces
from raynas.testing import check_method, check_space

RECIPE = {
    "method": {"name": "halving", "architectures": 4, "rounds": 2},
    "space": "narrow",
    "data": {"name": "digits", "fraction": 0.3},
    "budget": {"macs": {"max": "1M"}},
    "training": {"epochs": 1, "batch_size": 64, "learning_rate": 0.1},
    "evaluation": {"recalibration_images": 64, "recalibration_batch_size": 64},
    "scale": {"evaluate": {"actors": 1}},
}


def test_space() -> None:
    check_space(search_spaces.load("narrow"))


def test_method(tmp_path: Path) -> None:
    check_method(RECIPE, tmp_path)

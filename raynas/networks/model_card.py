"""The model card of a trained network: its architecture, its accuracy, its data, and how to use it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import raynas
from raynas.networks.class_table import format_classes
from raynas.networks.preprocessing import Preprocessing
from raynas.recipe.recipe import read_run_recipe
from raynas.reporting.units import format_cost
from raynas.results.class_accuracy import ClassAccuracy
from raynas.results.guessing import LargestClass, describe_guess, has_top5
from search_spaces.errors import format_count

if TYPE_CHECKING:
    from raynas.networks.trained_network import TrainedNetwork


_IMAGES = {"name": "images", "type": "float32", "channels": "red, green, blue"}
_PIXELS = {"name": "pixels", "type": "uint8", "channels": "red, green, blue", "shape": ["batch", "height", "width", 3]}


def facts_of(trained: TrainedNetwork, inside: bool, licence: str | None) -> dict[str, Any]:
    """Return what a user of the file needs; ONNX files hold it as metadata.

    Args:
        inside: whether preprocessing is a part of the file.
        licence: of the file.
    """
    figures, data = trained.figures, trained.data
    by_class = trained.by_class()
    return {
        "architecture": trained.text,
        "classes": list(data.classes),
        "preprocessing": Preprocessing.of(data).model_dump(mode="json"),
        "input": _PIXELS if inside else {**_IMAGES, "shape": ["batch", 3, data.resolution, data.resolution]},
        "output": {"name": "probabilities" if inside else "logits", "shape": ["batch", len(data.classes)]},
        "test_top1": float(figures["top1"]),
        "balanced_test_top1": by_class.balanced_top1,
        "test_images": data.counts["test"],
        "warning": describe_guess(float(figures["top1"]), data.counts["test"], LargestClass(*data.largest_test_class)),
        "macs": int(figures["macs"]),
        "params": int(figures["params"]),
        "licence": licence,
    }


def make_card(trained: TrainedNetwork, file: Path, form: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model card of a network in a file, as plain JSON."""
    recipe = read_run_recipe(trained.run)
    versions = trained.run.read_json("versions.json")
    figures, data = trained.figures, trained.data
    by_class = trained.by_class()
    return {
        **facts,
        "space": trained.space.name,
        "method": recipe["method"]["name"],
        "run": trained.run.uri,
        "format": form,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "test_top5": float(figures["top5"]),
        "test_loss": float(figures["loss"]),
        "class_test_top1": by_class.figures()["class_top1"],
        "confusion": figures["confusion"],
        "latency_ms": figures["latency_ms"],
        "budget": recipe["budget"],
        "data": {"name": data.settings.name, "fingerprint": data.fingerprint, "counts": dict(data.counts)},
        "training": dict(trained.settings),
        "seed": trained.seed,
        "versions": {"raynas_now": raynas.__version__, **versions["packages"], "python": versions["python"]},
        "trained_on": {"cpu": versions["cpu"], "gpus": versions["gpus"]},
    }


def format_markdown(card: dict[str, Any], file: str) -> str:
    """Return a model card for people."""
    preprocessing = Preprocessing.model_validate(card["preprocessing"])
    size = preprocessing.crop
    latency, warning = card["latency_ms"], card["warning"]
    by_class = ClassAccuracy.of(card["classes"], card["confusion"])
    warning_row = "" if warning is None else f"| warning | {warning} |\n"
    latency_row = "" if latency is None else f"\n| latency by the run's table | {format_cost('latency_ms', latency)} |"
    top5_row = f"| test top-5 | {card['test_top5']:.2f} % |\n" if has_top5(len(card["classes"])) else ""
    rows = top5_row + warning_row
    budget = ", ".join(f"{key} {_format_limits(limits)}" for key, limits in card["budget"].items()) or "none"
    counts, classes = card["data"]["counts"], card["classes"]
    first_classes = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    settings = ", ".join(
        f"{key} {value}" for key, value in card["training"].items() if value not in (None, 0, [], False)
    )
    gpus = "".join(f", {name}" for name in card["trained_on"]["gpus"])
    versions = ", ".join(f"{key} {value}" for key, value in card["versions"].items() if key != "raynas_now")
    return f"""# {file}

An image network. raynas {card["versions"]["raynas"]} found it with {card["method"]} and trained it stand-alone.

`{card["architecture"]}`

| | |
| --- | --- |
| test top-1 | {card["test_top1"]:.2f} % of {format_count(card["test_images"], "image")} |
| balanced accuracy | {by_class.balanced_top1:.2f} % |
{rows}| multiply-adds | {card["macs"] / 1e6:,.3f} M for an image of {size}x{size} pixels |
| parameters | {card["params"] / 1e6:,.3f} M |{latency_row}
| budget of the search | {budget} |
{format_classes(by_class)}
## Use

{_describe_use(card, preprocessing, file)}

`raynas predict {file} image.jpg` prints classes and probabilities.

Classes, in the order of the output: {first_classes}.

## Origin

- Data: {card["data"]["name"]} (fingerprint `{card["data"]["fingerprint"][:16]}`)
- Training images: {counts["train"] + counts["validation"]:,}; the search held out {counts["validation"]:,} of them
- Test images: {counts["test"]:,}; the search did not use them
- Licence: {card["licence"] or "not stated; the images and their licence decide"}
- Run: `{card["run"]}`, seed {card["seed"]}
- Training: {settings}
- Versions: {versions}, on {card["trained_on"]["cpu"]}{gpus}
"""


def _describe_use(card: dict[str, Any], preprocessing: Preprocessing, file: str) -> str:
    """Return the input of the file, the steps from an image to it, and Python code."""
    steps, classes = preprocessing.sentences(), len(card["classes"])
    if card["input"] == _PIXELS:
        return f"""Input: `uint8` of shape (batch, height, width, 3), channels red, green, blue, of any size.

1. {steps[0]}

The graph does the rest. Its antialiased resize needs a runtime with ONNX's opset 18.

{_numbered(steps[1:], 2)}
{len(steps) + 1}. Take the softmax of the logits.

Output: probabilities of shape (batch, {classes}).

```python
{preprocessing.code(inside=True)}
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(probabilities,) = session.run(["probabilities"], {{"pixels": read("image.jpg")[None]}})
print(probabilities.argmax(axis=1))
```"""
    side = preprocessing.crop
    return f"""Input: `float32` of shape (batch, 3, {side}, {side}), channels red, green, blue.

{_numbered(steps)}

Output: logits of shape (batch, {classes}).

```python
{preprocessing.code()}

images = np.stack([read(file) for file in ["image.jpg"]])
{_USE[card["format"]].format(file=file, run=card["run"])}
print(logits.argmax(axis=1))
```"""


def _numbered(steps: Sequence[str], first: int = 1) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, first))


_USE = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(["logits"], {{"images": images}})""",
    "torch-export": """import torch

network = torch.export.load("{file}").module()
logits = network(torch.from_numpy(images)).detach().numpy()""",
    "safetensors": """import raynas
import torch
from safetensors.torch import load_file

network = raynas.build("{run}").eval()  # already has these weights
network.load_state_dict(load_file("{file}"))
with torch.no_grad():
    logits = network(torch.from_numpy(images)).numpy()""",
}


def _format_limits(limits: dict[str, Any]) -> str:
    return " ".join(f"{key} {value:,.12g}" for key, value in limits.items() if value is not None)

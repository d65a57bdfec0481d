"""The model card of a trained network: its architecture, its accuracy, its data, and how to use it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import raynas
from raynas.networks.preprocessing import Preprocessing
from raynas.recipe.recipe import read_run_recipe
from raynas.reporting.units import format_cost
from raynas.results.guessing import LargestClass, describe_guess
from search_spaces.errors import format_count

if TYPE_CHECKING:
    from raynas.networks.trained_network import TrainedNetwork


def facts_of(trained: TrainedNetwork) -> dict[str, Any]:
    """Return what a user of the file needs; ONNX files hold it as metadata."""
    figures, data = trained.figures, trained.data
    return {
        "architecture": trained.text,
        "classes": list(data.classes),
        "preprocessing": Preprocessing.of(data).model_dump(mode="json"),
        "test_top1": float(figures["top1"]),
        "test_images": data.counts["test"],
        "warning": describe_guess(float(figures["top1"]), data.counts["test"], LargestClass(*data.largest_test_class)),
        "macs": int(figures["macs"]),
        "params": int(figures["params"]),
    }


def make_card(trained: TrainedNetwork, file: Path, form: str) -> dict[str, Any]:
    """Return the model card of a network in a file, as plain JSON."""
    recipe = read_run_recipe(trained.run)
    versions = trained.run.read_json("versions.json")
    figures, data = trained.figures, trained.data
    return {
        **facts_of(trained),
        "space": trained.space.name,
        "method": recipe["method"]["name"],
        "run": trained.run.uri,
        "format": form,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "input": {
            "shape": ["batch", 3, data.resolution, data.resolution],
            "channels": "red, green, blue",
        },
        "test_top5": float(figures["top5"]),
        "test_loss": float(figures["loss"]),
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
    size = card["input"]["shape"][2]
    preprocessing = Preprocessing.model_validate(card["preprocessing"])
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(preprocessing.sentences(), 1))
    latency, warning = card["latency_ms"], card["warning"]
    warning_row = "" if warning is None else f"| warning | {warning} |\n"
    latency_row = "" if latency is None else f"\n| latency by the run's table | {format_cost('latency_ms', latency)} |"
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
| test top-5 | {card["test_top5"]:.2f} % |
{warning_row}| multiply-adds | {card["macs"] / 1e6:,.3f} M for an image of {size}x{size} pixels |
| parameters | {card["params"] / 1e6:,.3f} M |{latency_row}
| budget of the search | {budget} |

## Use

Input: `float32` of shape (batch, 3, {size}, {size}), channels red, green, blue.

{steps}

Output: logits of shape (batch, {len(classes)}).

```python
{preprocessing.code()}

images = np.stack([read(file) for file in ["image.jpg"]])
{_USE[card["format"]].format(file=file, run=card["run"])}
print(logits.argmax(axis=1))
```

`raynas predict {file} image.jpg` prints classes and probabilities.

Classes, in the order of the logits: {first_classes}.

## Origin

- Data: {card["data"]["name"]} (fingerprint `{card["data"]["fingerprint"][:16]}`)
- Training images: {counts["train"] + counts["validation"]:,}; the search held out {counts["validation"]:,} of them
- Test images: {counts["test"]:,}; the search did not use them
- Run: `{card["run"]}`, seed {card["seed"]}
- Training: {settings}
- Versions: {versions}, on {card["trained_on"]["cpu"]}{gpus}
"""


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

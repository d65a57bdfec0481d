"""Folders that are no run folders, files that hold no weights, and wrong command lines."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.raynas.cli.bad_input.case import (
    CHOSEN,
    NETWORK,
    Case,
    Malicious,
    Setup,
    begun,
    case,
    changed,
    file,
    finished,
    images,
    several,
)


def _two_of_other_costs(folder: Path) -> None:
    finished(folder, "run", "macs")
    finished(folder, "other", "params")


def _cut_short(name: str) -> Setup:
    def cut(folder: Path) -> None:
        finished(folder)
        content = (folder / "run" / name).read_bytes()
        (folder / "run" / name).write_bytes(content[: len(content) // 2])

    return cut


_READERS = ("table", "fit", "export", "draw", "report", "compare", "watch")
_OF_FINISHED = {"fit": "not finished", "draw": "not finished", "report": "not finished", "compare": "not finished"}

RUNS = [
    *(case(f"{name}: no folder", [name, "run"], "is not the folder of a run") for name in _READERS),
    *(
        case(f"{name}: a folder of another program", [name, "run"], "no recipe.yaml", setup=file("run/thesis.tex", ""))
        for name in _READERS
    ),
    *(case(f"{name}: a file for a folder", [name, "recipe.yaml"], "is not the folder") for name in ("table", "fit")),
    *(
        case(f"{name}: a run that is not finished", [name, "run"], part, setup=begun)
        for name, part in {**_OF_FINISHED, "export": "was trained stand-alone"}.items()
    ),
    case("no stand-alone training", ["export", "run"], "train it with raynas fit", setup=finished),
    case("blocks to draw", ["draw", "run"], "nas-bench-macro has no cells to draw", setup=finished),
    case("one run of two is none", ["compare", "run", "other"], "other is not the folder", setup=finished),
    case("fronts of two costs", ["compare", "run", "other"], "of macs and params", setup=_two_of_other_costs),
    case("a report on two costs", ["report", "run", "other"], "of different costs", setup=_two_of_other_costs),
    case("a report that is a folder", ["report", "run", "--out", "."], "cannot be written", setup=finished),
    case("an architecture never seen", ["fit", "run", "--architecture", "k3e3"], "is not an arch", setup=finished),
    case("weights of no supernet", ["fit", "run", "--set", "inherit=true"], "--set inherit needs", setup=finished),
    case(
        "a batch above all images", ["fit", "run", "--set", "batch_size=9999"], "1,442 training images", setup=finished
    ),
    case(
        "another seed in its folder",
        ["run", "recipe.yaml", "--out", "run", "--set=seed=3"],
        "seed = 0",
        setup=finished,
    ),
    changed("a folder of something else", [], "not empty", setup=file("out/thesis.tex", "years of work")),
    case("the recipe's own folder", ["run", "recipe.yaml", "--out", "."], "not empty"),
    case("a file for a run folder", ["run", "recipe.yaml", "--out", "recipe.yaml"], "cannot be a run folder"),
    case("a run folder under a file", ["run", "recipe.yaml", "--out", "recipe.yaml/out"], "cannot be a run folder"),
    case("a network's folder is a file", ["fit", NETWORK, *CHOSEN, "--out", "recipe.yaml"], "cannot be a run folder"),
    case("a store that there is not", ["run", "recipe.yaml", "--out", "s4://a/b"], "s4://a/b names no folder"),
    case("a run in such a store", ["table", "s4://a/b"], "s4://a/b names no folder"),
]


def _teacher(fault: str, setup: Setup | None, *parts: str, name: str = "teacher.pth") -> Case:
    sets = ["--set", "fit.teacher.model=alexnet", "--set", f"fit.teacher.weights={name}"]
    return case(fault, ["fit", NETWORK, "--out", "out", *sets], f"--set teacher.weights = {name}", *parts, setup=setup)


def _saved(value: Any) -> Setup:
    return lambda folder: torch.save(value, folder / "teacher.pth")


def _searched(fault: str, setup: Setup | None) -> Case:
    part = "holds no network that hm-nas has searched"
    return changed(fault, "method.searched_run=run", part, setup=setup, recipe="hm-nas-digits")


WEIGHTS = [
    _teacher("no weights", None, "there is no such file"),
    _teacher("a folder of weights", lambda folder: (folder / "teacher.pth").mkdir(), "there is no such file"),
    _teacher("weights of no bytes", file("teacher.pth", ""), "tensors alone"),
    _teacher("a text named .pth", file("teacher.pth", "no weights"), "tensors alone"),
    _teacher("a text named .safetensors", file("t.safetensors", "none"), "tensors alone", name="t.safetensors"),
    _teacher("a pickle that executes", file("teacher.pth", pickle.dumps(Malicious())), "tensors alone"),
    _teacher("weights that execute", _saved({"weight": Malicious()}), "tensors alone"),
    _teacher("a list of weights", _saved([torch.zeros(2)]), "not the weights of a alexnet with 10 classes"),
    _teacher("weights without names", _saved({1: torch.zeros(2)}), "not the weights of a alexnet with 10 classes"),
    _teacher(
        "weights of another model", _saved({"weight": torch.zeros(2)}), "not the weights of a alexnet with 10 classes"
    ),
    _searched("no searched run", None),
    _searched("a file for the searched run", file("run", "")),
    _searched("a searched run that is not finished", begun),
    _searched("a run of another method", finished),
    _searched("a searched run cut short", _cut_short("outcome.json")),
]


_IMAGES = images("cat", "dog")


def _auto(fault: str, *words: str, part: str, setup: Setup | None = _IMAGES) -> Case:
    return case(fault, ["auto", "images", *words], part, setup=setup)


COMMANDS = [
    case("an unknown command", ["runs"], "No such command 'runs'", "'run'"),
    case("an unknown option", ["run", "recipe.yaml", "--frobnicate"], "No such option", "--frobnicate"),
    case("no recipe", ["run"], "Missing argument 'recipe'"),
    case("two recipes", ["run", "recipe.yaml", "recipe.yaml"], "unexpected extra argument"),
    case("an option without its value", ["run", "recipe.yaml", "--out"], "'--out' requires an argument"),
    case("an unknown log", ["demo", "--log-format=xml"], "--log-format is text or json, not 'xml'"),
    case("an unknown key for the demo", ["demo", "--set=sed=1"], "no key 'sed'; the nearest is 'seed'"),
    case("nothing to describe", ["describe"], "Missing argument 'SPACE-OR-ARCHITECTURE'"),
    case("images of no pixels", ["describe", "fbnet", "--resolution", "0"], "Invalid value for '--resolution'"),
    case("a table of no file", ["describe", "fbnet", "--table", "x"], "also give the file, with --latency"),
    case("none of the best", ["fit", "run", "--best", "0"], "Invalid value for '--best'"),
    case("the best of a text", ["fit", NETWORK, "--best", "2"], "need a run folder"),
    case("a recipe for a run", ["fit", "run", "--recipe", "x"], "a run has its own recipe", setup=finished),
    case("images for a run", ["fit", "recipe.yaml", "--data", "images"], "--data is for the text of an architecture"),
    case("a misspelt architecture", ["fit", "hournass-a"], "no published architecture", "the nearest is 'hournas-a'"),
    case("a misspelt one to describe", ["describe", "hournas-aa"], "the nearest is 'hournas-a'"),
    case("a published one without images", ["fit", "hournas-a"], "Name the images for hournas-a: --data FOLDER"),
    case("images that are nowhere", ["fit", "hournas-a", "--data", "digit"], "nothing at digit", "nearest is 'digits'"),
    case(
        "a published one of another space",
        ["fit", "run", "--architecture", "hournas-a"],
        "This is not an architecture of nas-bench-macro",
        setup=finished,
    ),
    case(
        "a batch above all photos",
        ["fit", "hournas-a", "--data", "images", "--set=batch_size=256"],
        "--set batch_size is 256, but there are only",
        setup=images("cat", "dog"),
    ),
    case("an unknown key of fit", ["fit", NETWORK, "--set", "epoch=3"], "no key 'fit.epoch'; the nearest is 'epochs'"),
    case("an unknown teacher", ["fit", NETWORK, "--set", "teacher.model=resnet19"], "'resnet19'; the nearest is"),
    case("a teacher of other classes", ["fit", NETWORK, "--set", "teacher.model=alexnet"], "the data has 10: train on"),
    case("paths dropped of blocks", ["fit", NETWORK, "--set", "drop_path=0.2"], "leave them out"),
    case("an auxiliary head on blocks", ["fit", NETWORK, "--set", "auxiliary_weight=0.4"], "leave them out"),
    case(
        "a fit of more images than all",
        ["fit", NETWORK, "--set", "batch_size=5000"],
        "--set batch_size is 5000, but there",
    ),
    case("inherited from nothing", ["fit", NETWORK, *CHOSEN, "--set=inherit=true"], "--set inherit needs the run of a"),
    case(
        "a training that nobody chose",
        ["fit", NETWORK],
        "--set epochs, --set batch_size and --set learning_rate have no default",
        "set them",
    ),
    case("no image to predict", ["predict", "run", "absent.png"], "There is nothing at absent.png", setup=finished),
    case("a folder without images", ["predict", "run", "."], "There is no image in .", setup=finished),
    case(
        "a run that trained no network alone",
        ["predict", "run", "x.png"],
        "was trained stand-alone",
        setup=several(finished, lambda folder: Image.new("L", (8, 8)).save(folder / "x.png")),
    ),
    case("an unknown format", ["export", "run", "--format", "tflite"], "onnx, torch-export, safetensors, not 'tflite'"),
    case("a network that no run has", ["export", NETWORK], "No run in runs has trained"),
    case("nothing to compare", ["compare"], "Missing argument 'runs'"),
    case("a limit that is no amount", ["compare", "run", "--max-macs", "50X"], "--max-macs = '50X'"),
    _auto("auto without a limit", part="Give at least one limit: --max-macs 50M"),
    _auto("auto with no amount", "--max-macs", "50X", part="--max-macs = '50X'"),
    _auto("auto with a limit of nothing", "--max-macs", "0", part="macs can be"),
    _auto("auto with too low a limit", "--max-params", "1", part="params can be"),
    _auto("auto in no time", "--max-macs", "1M", "--minutes", "0", part="Invalid value for '--minutes'"),
    _auto("auto for ever", "--max-macs", "1M", "--minutes", "inf", part="Invalid value for '--minutes'"),
    _auto("auto with no images", "--max-macs", "1M", part="a folder that exists", setup=None),
    _auto("auto with one class", "--max-macs", "1M", part="has only one class, 'cat'", setup=images("cat")),
    _auto("auto into a file", "--max-macs", "1M", "--out", "recipe.yaml/x", part="cannot be written"),
    _auto(
        "auto over another recipe",
        *("--max-macs", "1M", "--out", "recipe"),
        part="is a recipe for other images or limits",
    ),
    case("a space that is none to measure", ["latency", "measure", "fbnett"], "'fbnett'; the nearest is 'fbnet'"),
    case("an unknown device", ["latency", "measure", "fbnet", "--device", "tpu"], "The device is 'tpu'"),
    case(
        "a GPU that is not here",
        ["latency", "measure", "fbnet", "--device", "cuda:99"],
        "The device cuda:99 is not on this machine",
    ),
    case("a name to measure", ["latency", "measure", "fbnet", "--set", "name=x"], "not its name"),
    case("no repeats", ["latency", "measure", "fbnet", "--repeats", "0"], "Invalid value for '--repeats'"),
    case("a table to write that is no CSV", ["latency", "measure", "fbnet", "--out", "t.txt"], "t.txt is no CSV file"),
    case("a table to write over", ["latency", "measure", "fbnet", "--out", "t.csv"], "exists", setup=file("t.csv", "")),
    case("no table to check", ["latency", "check", "fbnet", "none.csv"], "none.csv cannot be read"),
    case("one network to check", ["latency", "check", "fbnet", "t.csv", "--architectures", "1"], "'--architectures'"),
]

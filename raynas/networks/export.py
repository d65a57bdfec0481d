"""`raynas export`: a trained network as a file that needs no raynas, and its model card.

A file takes its name only after the library of its format has read it, and has given the logits of the network.
"""

from __future__ import annotations

import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from raynas.networks.model_card import facts_of, format_markdown, make_card
from raynas.networks.trained_network import TrainedNetwork, find_network, find_network_in_runs
from search_spaces.errors import UserError

Format = Literal["onnx", "torch-export", "safetensors"]
Place = Literal["outside", "inside"]
"""Where an image file becomes the input of the network: in the user's code, or in the graph of the file."""
_SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
_PACKAGES = {"onnx": ("onnx", "onnxruntime", "onnxscript")}
"""The packages of each format that an installation of raynas may lack."""
_TOLERANCES: dict[str, float] = {"outside": 1e-4, "inside": 0.01}
"""The largest difference: of logits; of probabilities, as pixels of the two resizes may differ by one grey level."""


def export(
    source: str,
    architecture: str | None,
    form: str,
    out: str | None,
    preprocessing: str = "outside",
    licence: str | None = None,
) -> dict[str, Any]:
    """Write a trained network, and beside it its model card: the file's name with `.json` and `.md` added.

    Args:
        source: a run folder, or the text of an architecture that a run in `runs/` has trained stand-alone.
        architecture: of the run; by default its most accurate network.
        form: `onnx`, `torch-export` or `safetensors`.
        out: the file; by default a file in `export/` of a local run folder.
        preprocessing: `inside` for an ONNX file from images of any size to probabilities.
        licence: of the file, for the card and the metadata.

    Returns:
        The model card, with the paths `file` and `card`, and `largest_difference`, between the logits (`inside`: the
        probabilities) of the file and of the network.

    Raises:
        UserError: if no such network was trained, the format is unknown, a package is missing, or the file cannot be
            written.
    """
    if form not in _SUFFIXES:
        raise UserError(f"--format is {', '.join(get_args(Format))}, not {form!r}.")
    if preprocessing not in _TOLERANCES:
        raise UserError(f"--preprocessing is {' or '.join(get_args(Place))}, not {preprocessing!r}.")
    inside = preprocessing == "inside"
    if inside and form != "onnx":
        raise UserError(f"--preprocessing inside needs --format onnx, not {form}.")
    check_packages(form)
    trained = find_network_in_runs(source) if ": " in source else find_network(source, architecture)
    is_best = architecture is None and ": " not in source
    file = _choose_file(trained, form, out, is_best, "-with-preprocessing" if inside else "")
    from raynas.networks.file_formats import write_network, write_network_with_preprocessing  # imports torch

    facts = facts_of(trained, inside, licence)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
            written = Path(folder) / file.name
            if inside:
                difference = write_network_with_preprocessing(trained, written, facts)
            else:
                difference = write_network(trained, form, written, facts)
            if not difference <= _TOLERANCES[preprocessing]:
                raise RuntimeError(f"the outputs of {written.name} and of the network differ by {difference:.2g}")
            card = make_card(trained, written, form, facts)
            os.replace(written, file)
        Path(f"{file}.json").write_text(f"{json.dumps(card, indent=2, ensure_ascii=False)}\n")
        Path(f"{file}.md").write_text(format_markdown(card, file.name))
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error
    return {"file": str(file), "card": f"{file}.md", "largest_difference": difference, **card}


def check_packages(form: str) -> None:
    """Raises UserError if a package of the format is not installed. Nothing is imported."""
    missing = [name for name in _PACKAGES.get(form, ()) if find_spec(name) is None]
    if missing:
        raise UserError(f"Exporting to {form.upper()} needs {' and '.join(missing)}: pip install 'raynas[export]'.")


def _choose_file(trained: TrainedNetwork, form: str, out: str | None, is_best: bool, ending: str) -> Path:
    """Return the file to write: `out`, or a file with the name of the run, and of the step if it is not the best.

    Args:
        ending: of the name, before the suffix.
    """
    suffix = _SUFFIXES[form]
    if out is None:
        if not trained.run.is_local:
            raise UserError(f"{trained.run.uri} is not on this machine: give the file to write with --out.")
        run = Path(trained.run.uri)
        name = run.name if is_best else f"{run.name}-{trained.name}"
        return run / "export" / f"{name}{ending}{suffix}"
    if Path(out).suffix != suffix:
        raise UserError(f"A file of the format {form} ends in {suffix}: rename {out}, or change --format.")
    return Path(out)

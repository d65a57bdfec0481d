"""`raynas predict`: the classes of image files, by an exported file or by the best network of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from raynas.data.decoding import UNREADABLE, describe_reason, describe_unreadable, to_rgb
from raynas.data.labelled_files import walk
from raynas.networks.preprocessing import Preprocessing
from raynas.networks.trained_network import find_network
from search_spaces.errors import UserError

_BATCH = 32


@dataclass(frozen=True)
class Predictor:
    """A network with all that turns an image file into a class.

    Attributes:
        run: from images of `preprocessing`, shape (N, 3, S, S), to logits of shape (N, classes). With `inside`, from
            pixels of shape (1, height, width, 3) to probabilities of shape (1, classes).
        inside: whether preprocessing is a part of the file.
    """

    classes: Sequence[str]
    preprocessing: Preprocessing
    run: Callable[[NDArray[Any]], NDArray[np.float32]]
    inside: bool = False

    @classmethod
    def read(cls, source: str) -> Predictor:
        """Read an exported file (.onnx, .pt2), or the most accurate network of a run.

        Raises:
            UserError: if there is no such file or run, or a package is missing.
        """
        suffix = Path(source).suffix
        if suffix == ".onnx":
            return cls._read_onnx(source)
        if suffix == ".pt2":
            return cls._read_torch_export(source)
        if suffix == ".safetensors":
            raise UserError(f"{source} holds weights alone: give the run folder, or export the network as ONNX.")
        import torch

        trained = find_network(source)
        network = trained.network()

        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                logits: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
            return logits

        return cls(trained.data.classes, Preprocessing.of(trained.data), run)

    @classmethod
    def _read_onnx(cls, source: str) -> Predictor:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError("Reading ONNX needs onnxruntime: pip install 'raynas[export]'.") from error
        if not Path(source).is_file():
            raise UserError(f"There is no file {source}.")
        try:
            session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common class of its errors
            raise UserError(
                f"{source} cannot be read as ONNX: {' '.join(str(error).split())}. Export it again."
            ) from error
        facts = session.get_modelmeta().custom_metadata_map
        if not {"classes", "preprocessing", "input"} <= facts.keys():
            raise UserError(f"{source} has no classes and no preprocessing in its metadata: raynas export writes both.")
        name = json.loads(facts["input"])["name"]

        def run(values: NDArray[Any]) -> NDArray[np.float32]:
            (output,) = session.run(None, {name: values})
            return np.asarray(output)

        preprocessing = Preprocessing.model_validate_json(facts["preprocessing"])
        return cls(json.loads(facts["classes"]), preprocessing, run, inside=name == "pixels")

    @classmethod
    def _read_torch_export(cls, source: str) -> Predictor:
        import torch

        card_file = Path(f"{source}.json")
        if not Path(source).is_file() or not card_file.is_file():
            raise UserError(f"There is no file {source} with its card {card_file} beside it.")
        card: dict[str, Any] = json.loads(card_file.read_text(encoding="utf-8"))
        module = torch.export.load(source).module()
        preprocessing = Preprocessing.model_validate(card["preprocessing"])
        return cls(card["classes"], preprocessing, lambda images: module(torch.from_numpy(images)).detach().numpy())

    def probabilities(self, files: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Yield each file with the probabilities of all classes.

        Raises:
            UserError: at the end, if images cannot be read; it names them.
        """
        faults: list[str] = []
        for start in range(0, len(files), _BATCH):
            inputs = {}
            for file in files[start : start + _BATCH]:
                try:
                    inputs[file] = self._input(Image.open(file))
                except UNREADABLE as error:
                    faults.append(f"{file} ({describe_reason(error)})")
            if self.inside:
                yield from ((file, self.run(pixels[None])[0].astype(np.float64)) for file, pixels in inputs.items())
            elif inputs:
                logits = self.run(np.stack(list(inputs.values()))).astype(np.float64)
                yield from zip(inputs, softmax(logits, axis=1), strict=True)
        if faults:
            raise UserError(f"{describe_unreadable(faults, len(files))}. Leave them out.")

    def _input(self, image: Image.Image) -> NDArray[Any]:
        if self.inside:
            return np.asarray(to_rgb(image, self.preprocessing.background))
        return self.preprocessing.array(image)


def predict(source: str, paths: Sequence[str], top: int = 1) -> list[dict[str, Any]]:
    """Return the most probable classes of images.

    Args:
        source: an exported file, or a run folder.
        paths: image files, and folders of them.
        top: the number of classes for each image.

    Returns:
        For each image and rank a row with `image`, `class` and `probability`.

    Raises:
        UserError: if the source or images cannot be read.
    """
    files = list(dict.fromkeys(file for path in paths for file in _files_of(Path(path))))
    if not files:
        raise UserError(f"There is no image in {', '.join(paths)}: give image files, or folders with images.")
    predictor = Predictor.read(source)
    rows = []
    for file, probabilities in predictor.probabilities(files):
        for label in np.argsort(-probabilities, kind="stable")[:top]:
            name = predictor.classes[int(label)]
            rows.append({"image": file, "class": name, "probability": float(probabilities[label])})
    return rows


def _files_of(path: Path) -> list[str]:
    if not path.exists():
        raise UserError(f"There is nothing at {path}. Give image files or folders.")
    return walk(path)[0] if path.is_dir() else [str(path)]

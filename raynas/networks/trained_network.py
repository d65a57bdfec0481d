"""Networks as plain torch modules: of a run, with their weights, or of an architecture, with new weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.data.settings import PreparedData
from raynas.recipe.recipe import read_run_data, read_run_recipe
from raynas.results.class_accuracy import ClassAccuracy, tested_answers
from raynas.results.fit_result import read_networks
from raynas.results.outcome import is_finished, json_rows, load
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import check_is_run, records
from search_spaces import from_specification
from search_spaces.cell.genotype import FILE, Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.families.darts import settings_of_text
from search_spaces.loading import load as load_space

if TYPE_CHECKING:
    from torch import nn

    from search_spaces import SearchSpace


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of a run, trained stand-alone or tuned from the weights of the supernet.

    Attributes:
        name: the step that trained it.
        run: the run folder.
        space: the space that builds it.
        text: the text of its architecture, or of its genotype if its operations have weights.
        figures: `top1`, `top5` and `loss` on the test images; `macs`, `params` and `latency_ms`; `architecture`;
            `confusion`.
        settings: the `fit` settings of its training.
        data: the images.
        seed: of the run.
        weights: the file of its weights in the run folder.
    """

    name: str
    run: RunFolder
    space: SearchSpace
    text: str
    figures: Mapping[str, Any]
    settings: Mapping[str, Any]
    data: PreparedData
    seed: int
    weights: str

    def is_built_by(self, text: str) -> bool:
        """Return whether a text builds this network: its own text, or that of an isomorphic architecture."""
        own_text = self.figures["architecture"]
        if text in (self.text, own_text):
            return True
        try:
            architecture = self.space.parse(text)
        except UserError:
            return False
        return self.space.canonical(architecture) == self.space.canonical(self.space.parse(own_text))

    def by_class(self) -> ClassAccuracy:
        return ClassAccuracy.of(self.data.classes, self.figures["confusion"])

    def network(self) -> nn.Module:
        """Return the measured network with its weights, in evaluation mode. It turns normalised images into logits."""
        state, _ = self.run.read_tensors(self.weights)
        genotype = _genotype(self.run, self.space)
        if genotype is not None and self.text == str(genotype):
            network: nn.Module = genotype.network()
            network.load_state_dict(genotype.space.network_state(genotype.architecture, state))
        else:
            architecture = self.space.parse(self.text)
            space = self.space.only(architecture)
            network = space.network(architecture)
            network.load_state_dict(space.network_state(architecture, state))
        return network.eval()


def find_network(run: str | Path, text: str | None = None) -> TrainedNetwork:
    """Return the most accurate trained network of a run, or the one of an architecture.

    Raises:
        UserError: if the folder is not the folder of a run, or holds no such network.
    """
    folder = RunFolder(run)
    check_is_run(folder)
    networks = [*_trained_by_fit(folder), *_trained_by_method(folder)]
    if text is not None:
        networks = [network for network in networks if network.is_built_by(text)]
    if not networks:
        architecture = "" if text is None else f" of {text!r}"
        raise UserError(
            f"{folder.uri} holds no network{architecture} that was trained stand-alone: train it with raynas fit {run}."
        )
    return max(networks, key=lambda network: network.figures["top1"])


def find_network_in_runs(text: str, folder: Path = Path("runs")) -> TrainedNetwork:
    """Return the most accurate network of an architecture, among the runs in a folder.

    Raises:
        UserError: if no run has trained the architecture stand-alone.
    """
    runs = [file.parent for file in sorted(folder.glob("*/recipe.yaml"))]
    networks = [network for run in runs for network in _trained_by_fit(RunFolder(run)) if network.is_built_by(text)]
    if not networks:
        raise UserError(
            f"No run in {folder} has trained {text!r} stand-alone: train it with raynas fit, then export that run."
        )
    return max(networks, key=lambda network: network.figures["top1"])


def build(source: str | Path, *, features_only: bool = False, **settings: Any) -> nn.Module:
    """Return a network as a torch module: of a run with its weights, or of an architecture with new weights.

    Args:
        source: a run folder, for its most accurate network after stand-alone training; or the text of an architecture.
        features_only: return feature maps by name instead of logits (`search_spaces.feature_maps.FeatureMaps`), for the
            heads of detection and segmentation.
        settings: of the space, such as `width` and `num_classes`, if `source` is a text.

    Raises:
        UserError: if the run or the architecture does not exist.
    """
    if ": " in str(source):
        space = load_space(str(source).partition(":")[0], **{**settings_of_text(str(source)), **settings})
        network = space.network(space.parse(str(source)))
        resolution = space.resolution
    elif settings:
        raise UserError(f"A run decides the settings of its space: leave {', '.join(settings)} out.")
    else:
        trained = find_network(source)
        network, resolution = trained.network(), trained.data.resolution
    if not features_only:
        return network
    from search_spaces.feature_maps import FeatureMaps

    was_training = network.training
    return FeatureMaps(network, resolution).train(was_training)


def _trained_by_fit(folder: RunFolder) -> list[TrainedNetwork]:
    """Return the networks that `raynas fit` trained."""
    networks = read_networks(folder)
    if not networks:
        return []
    data = read_run_data(folder)
    return [
        TrainedNetwork(
            name=network["name"],
            run=folder,
            space=from_specification(network["space"]),
            text=network["architecture"],
            figures=network,
            settings=network["settings"],
            data=data,
            seed=network["seed"],
            weights=network["weights"],
        )
        for network in networks
    ]


def _trained_by_method(folder: RunFolder) -> list[TrainedNetwork]:
    """Return the network that the method itself trained and tested (HM-NAS, FTSO), if it did."""
    if not is_finished(folder):
        return []
    outcome = load(folder.uri)
    if outcome.network_weights is None:
        return []
    space = outcome.whole_space
    genotype = _genotype(folder, space)
    row = json_rows(outcome.evaluated)[-1]
    recipe = read_run_recipe(folder)
    trained_by = next(step["name"] for step in records(folder) if step["result"].get("file") == outcome.network_weights)
    return [
        TrainedNetwork(
            name=trained_by,
            run=folder,
            space=space,
            text=row["architecture"] if genotype is None else str(genotype),
            figures={**row, "confusion": tested_answers(folder, trained_by)},
            settings=recipe["fit"],
            data=read_run_data(folder),
            seed=recipe["seed"],
            weights=outcome.network_weights,
        )
    ]


def _genotype(folder: RunFolder, space: SearchSpace) -> Genotype | None:
    if not isinstance(space, CellSpace) or not folder.exists(FILE):
        return None
    return Genotype.parse(space, folder.read(FILE).decode())

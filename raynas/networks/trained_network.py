"""Networks as plain torch modules: a run's, with their weights, or new ones by the text of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.data.settings import PreparedData
from raynas.recipe.recipe import kept_recipe
from raynas.results.fit_result import read_networks
from raynas.results.outcome import is_finished, json_rows, load
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import check_is_run, records
from search_spaces import from_specification
from search_spaces.cell.genotype import FILE, Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.loading import load as load_space

if TYPE_CHECKING:
    from torch import nn

    from search_spaces import SearchSpace


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of a run that was trained alone, or tuned from the supernet's weights.

    Attributes:
        name: the step that trained it.
        run: the run folder.
        space: the space that builds it.
        text: its text: an architecture's, or a genotype's where operations have weights.
        figures: `top1`, `top5`, `loss` on the test images, `macs`, `params` and `latency_ms`.
        settings: how it was trained: the recipe's `fit`.
        data: the images.
        seed: the run's.
        weights: their file in the run folder.
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

    def is_of(self, text: str) -> bool:
        """Whether this is the network of a text: its own, or one of an isomorphic architecture."""
        own = self.figures["architecture"]
        if text in (self.text, own):
            return True
        try:
            asked = self.space.parse(text)
        except UserError:
            return False
        return self.space.canonical(asked) == self.space.canonical(self.space.parse(own))

    def network(self) -> nn.Module:
        """The network that was measured, with its weights, in evaluation mode: normalised images to logits."""
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


def find_trained(run: str | Path, text: str | None = None) -> TrainedNetwork:
    """A trained network of a run: the most accurate one, or that of this architecture.

    Raises:
        UserError: if the folder is no run's, or nothing of the kind was trained in it.
    """
    folder = RunFolder(run)
    check_is_run(folder)
    found = [*_trained_by_fit(folder), *_trained_by_method(folder)]
    if text is not None:
        found = [one for one in found if one.is_of(text)]
    if not found:
        what = f"No network of {folder.uri} was" if text is None else f"{text!r} was never"
        raise UserError(f"{what} trained alone: its weights would be the supernet's. Train it by raynas fit {run}.")
    return max(found, key=lambda one: one.figures["top1"])


def find_trained_in_runs(text: str, under: Path = Path("runs")) -> TrainedNetwork:
    """The most accurate network of this architecture among the runs in a folder.

    Raises:
        UserError: if none was trained alone.
    """
    runs = [file.parent for file in sorted(under.glob("*/recipe.yaml"))]
    found = [one for run in runs for one in _trained_by_fit(RunFolder(run)) if one.is_of(text)]
    if not found:
        raise UserError(f"No run in {under} has trained {text!r} alone: train it by raynas fit, then export that run.")
    return max(found, key=lambda one: one.figures["top1"])


def build(what: str | Path, *, features_only: bool = False, **settings: Any) -> nn.Module:
    """A network as a torch module: of a run with its weights, or of an architecture's text with new ones.

    Args:
        what: a run folder, of which it is the most accurate network that was trained alone; or an architecture's text.
        features_only: feature maps by name instead of logits (`search_spaces.feature_maps.FeatureMaps`), for
            detection and segmentation heads.
        settings: of the space, such as `width` and `num_classes`, where `what` is a text.

    Raises:
        UserError: if there is no such thing.
    """
    if ": " in str(what):
        space = load_space(str(what).partition(":")[0], **settings)
        network = space.network(space.parse(str(what)))
        resolution = space.resolution
    elif settings:
        raise UserError(f"The settings of a run's space are the run's: leave {', '.join(settings)} out.")
    else:
        found = find_trained(what)
        network, resolution = found.network(), found.data.resolution
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
    data = _data(folder)
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
    """Return the network that the method itself trained and tested (HM-NAS, FTSO)."""
    if not is_finished(folder):
        return []
    outcome = load(folder.uri)
    if outcome.network_weights is None:
        return []
    space = outcome.whole_space
    genotype = _genotype(folder, space)
    row = json_rows(outcome.evaluated)[-1]
    recipe = kept_recipe(folder)
    trained_by = next(step["name"] for step in records(folder) if step["result"].get("file") == outcome.network_weights)
    return [
        TrainedNetwork(
            name=trained_by,
            run=folder,
            space=space,
            text=row["architecture"] if genotype is None else str(genotype),
            figures=row,
            settings=recipe["fit"],
            data=_data(folder),
            seed=recipe["seed"],
            weights=outcome.network_weights,
        )
    ]


def _genotype(folder: RunFolder, space: SearchSpace) -> Genotype | None:
    if not isinstance(space, CellSpace) or not folder.exists(FILE):
        return None
    return Genotype.parse(space, folder.read(FILE).decode())


def _data(folder: RunFolder) -> PreparedData:
    return PreparedData.model_validate(folder.read_json("versions.json")["data"])

"""Networks as plain torch modules: a run's, with their weights, or new ones by the text of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raynas.data.settings import Prepared
from raynas.recipe.recipe import kept_recipe
from raynas.results import fit_result
from raynas.results.outcome import TESTED, json_rows, load
from raynas.storage.run_folder import RunFolder
from raynas.study.steps import records
from search_spaces import from_specification
from search_spaces.cell.genotype import FILE, Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from search_spaces.loading import load as load_space

if TYPE_CHECKING:
    from torch import nn

    from search_spaces import SearchSpace


@dataclass(frozen=True)
class Trained:
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
    data: Prepared
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


def trained(run: str | Path, text: str | None = None) -> Trained:
    """A trained network of a run: the most accurate one, or that of this architecture.

    Raises:
        UserError: if the folder is no run's, or nothing of the kind was trained in it.
    """
    folder = RunFolder(run)
    if not folder.exists("recipe.yaml"):
        raise UserError(f"{folder.uri} is not the folder of a run: it has no recipe.yaml.")
    found = [*_fitted(folder), *_tested(folder)]
    if text is not None:
        found = [one for one in found if one.is_of(text)]
    if not found:
        what = f"No network of {folder.uri} was" if text is None else f"{text!r} was never"
        raise UserError(f"{what} trained alone: its weights would be the supernet's. Train it by raynas fit {run}.")
    return max(found, key=lambda one: one.figures["top1"])


def trained_anywhere(text: str, under: Path = Path("runs")) -> Trained:
    """The most accurate network of this architecture among the runs in a folder.

    Raises:
        UserError: if none was trained alone.
    """
    runs = [file.parent for file in sorted(under.glob("*/recipe.yaml"))]
    found = [one for run in runs for one in _fitted(RunFolder(run)) if one.is_of(text)]
    if not found:
        raise UserError(f"No run in {under} has trained {text!r} alone: train it by raynas fit, then export that run.")
    return max(found, key=lambda one: one.figures["top1"])


def build(what: str | Path, *, features_only: bool = False, **settings: Any) -> nn.Module:
    """A network as a torch module: of a run with its weights, or of an architecture's text with new ones.

    Args:
        what: a run folder, of which it is the most accurate network that was trained alone; or an architecture's text.
        features_only: feature maps by name instead of logits (`search_spaces.feature_maps.Features`), for detection and
            segmentation heads.
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
        found = trained(what)
        network, resolution = found.network(), found.data.resolution
    if not features_only:
        return network
    from search_spaces.feature_maps import Features

    was_training = network.training
    return Features(network, resolution).train(was_training)


def _fitted(folder: RunFolder) -> list[Trained]:
    """What `raynas fit` trained."""
    networks = fit_result.networks(folder)
    if not networks:
        return []
    data = _data(folder)
    return [
        Trained(
            name=one["name"],
            run=folder,
            space=from_specification(one["space"]),
            text=one["architecture"],
            figures=one,
            settings=one["settings"],
            data=data,
            seed=one["seed"],
            weights=one["weights"],
        )
        for one in networks
    ]


def _tested(folder: RunFolder) -> list[Trained]:
    """What the method itself trained until it could be measured on the test images (HM-NAS, FTSO)."""
    if not folder.exists("outcome.json"):
        return []
    outcome = load(folder.uri)
    trained_by = outcome.final.removesuffix(TESTED)
    steps = records(folder)
    weights = [step["result"]["file"] for step in steps if step["name"] == trained_by and "file" in step["result"]]
    if not outcome.is_tested or not weights:
        return []
    space = outcome.whole_space
    genotype = _genotype(folder, space)
    row = json_rows(outcome.evaluated)[-1]
    recipe = kept_recipe(folder)
    return [
        Trained(
            name=trained_by,
            run=folder,
            space=space,
            text=row["architecture"] if genotype is None else str(genotype),
            figures=row,
            settings=recipe["fit"],
            data=_data(folder),
            seed=recipe["seed"],
            weights=weights[0],
        )
    ]


def _genotype(folder: RunFolder, space: SearchSpace) -> Genotype | None:
    if not isinstance(space, CellSpace) or not folder.exists(FILE):
        return None
    return Genotype.parse(space, folder.read(FILE).decode())


def _data(folder: RunFolder) -> Prepared:
    return Prepared.model_validate(folder.read_json("versions.json")["data"])

"""The network that HM-NAS found: its weights, its cells, and another run's network to tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from raynas.results.outcome import load
from raynas.storage.difference import difference
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from raynas.storage.weights import Weights
from search_spaces.cell.genotype import FILE, Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError
from tuners.hm_nas.masks import MaskingLearner, masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from raynas.study.study import Study


def searched_weights(
    genotype: Genotype, masks: MaskingLearner | None, seed: int | None, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Weights of the searched network: the supernet's where the masks leave them, or new ones drawn with this seed."""
    if masks is not None:
        with torch.no_grad():
            weights = {**weights, **masks.masked_weights(weights)}
    own = genotype.space.network_state(genotype.architecture, weights)
    return own if seed is None else _renewed(genotype, seed, own)


def fitting_weights(genotype: Genotype, seed: int | None, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of a searched network's weights that fit its space's classes, or new ones where they are not 0."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in genotype.space.supernet().state_dict().items()}
    fitting = {key: value for key, value in weights.items() if value.shape == shapes[key]}
    return fitting if seed is None else _renewed(genotype, seed, fitting)


def _renewed(genotype: Genotype, seed: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """New weights in place of these, but for those that are 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        new = genotype.space.network_state(genotype.architecture, genotype.space.supernet().state_dict())
    return {
        key: value * (weights[key] != 0) if masked(value) and key in weights else value for key, value in new.items()
    }


def searched_in(run: str, space: CellSpace) -> tuple[Genotype, Weights]:
    """The searched network of a run, and its weights.

    Raises:
        UserError: if it has none, is not finished, or its space differs in more than classes and resolution.
    """
    folder = RunFolder(run)
    step = next((record for record in records(folder) if record["name"] == "searched"), None)
    if step is None or step["state"] != "finished" or not folder.exists(FILE):
        raise UserError(f"{run} holds no network that hm-nas has searched: method.searched takes such a run's folder.")
    genotype = Genotype.parse(space, folder.read(FILE).decode())
    for field, theirs, ours in difference(load(run).space["settings"], space.settings):
        if field not in ("num_classes", "resolution"):
            raise UserError(f"{run} was searched with space.{field} = {theirs!r}, not {ours!r}: set the same here.")
    return genotype, Weights(step["result"]["file"], "searched", [])


def kept(study: Study, genotype: Genotype, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """How many parameters, operations and edges are left, by the columns of the evaluation table."""
    own = genotype.space.network_state(genotype.architecture, weights)
    gone = sum(int((tensor == 0).sum()) for tensor in own.values() if masked(tensor))
    (params,) = study.costs.cost([genotype.architecture])["params"].tolist()
    operations = sum(value.bit_count() for value in genotype.architecture.indices)
    return {"kept_params": int(params) - gone, "operations": operations, "edges": sum(map(bool, genotype.edges))}

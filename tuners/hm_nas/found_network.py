"""The network that HM-NAS has searched: its weights, its size, and the searched network of another run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from search_spaces.cell.genotype import Genotype
from tuners.hm_nas.masks import MaskingLearner, has_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from search_spaces import Costs


def derive_searched_weights(
    genotype: Genotype, masks: MaskingLearner | None, seed: int | None, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights of the searched network, with 0 where a mask has removed a weight.

    Args:
        masks: the learnt masks; None if nothing was masked.
        seed: None inherits the supernet's weights; a seed draws new weights.
        weights: of the supernet.
    """
    if masks is not None:
        with torch.no_grad():
            weights = {**weights, **masks.masked_weights(weights)}
    network_weights = genotype.space.network_state(genotype.architecture, weights)
    return network_weights if seed is None else _redraw(genotype, seed, network_weights)


def select_fitting_weights(genotype: Genotype, seed: int | None, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of another run's searched network that fit this space's classes.

    Args:
        seed: None keeps the weights; a seed draws new weights in their place, except where they are 0.
    """
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in genotype.space.supernet().state_dict().items()}
    fitting = {key: value for key, value in weights.items() if value.shape == shapes[key]}
    return fitting if seed is None else _redraw(genotype, seed, fitting)


def _redraw(genotype: Genotype, seed: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return new weights for the searched network, with 0 where the weights with masks are 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        new = genotype.space.network_state(genotype.architecture, genotype.space.supernet().state_dict())
    return {
        key: value * (weights[key] != 0) if has_mask(value) and key in weights else value for key, value in new.items()
    }


def count_kept(costs: Costs, genotype: Genotype, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Count the parameters, operations and edges that no mask has removed, by the evaluation table's columns."""
    network_weights = genotype.space.network_state(genotype.architecture, weights)
    removed = sum(int((tensor == 0).sum()) for tensor in network_weights.values() if has_mask(tensor))
    (params,) = costs.cost([genotype.architecture])["params"].tolist()
    operations = sum(value.bit_count() for value in genotype.architecture.indices)
    return {"kept_params": int(params) - removed, "operations": operations, "edges": sum(map(bool, genotype.edges))}

"""FTSO written plainly: algorithm 1 searches the topology of the cells, algorithm 2 replaces the operators."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.speed.plain_steps import OneShotAccuracy, Task, train
from raynas.study.method import method_of_recipe
from raynas.training.epoch_schedule import epoch_batches
from search_spaces import Architecture
from tuners.ftso.method import Ftso

_SIMPLEST, _POWERFUL, _NONE = "skip_connect", "sep_conv_3x3", "none"


def ftso(task: Task) -> tuple[Architecture, float]:
    """Search the topology with skip connections. Returns the replaced architecture, and the topology's accuracy."""
    method = method_of_recipe(task.recipe)
    assert isinstance(method, Ftso)
    torch.manual_seed(task.recipe.seed)
    options, nodes = task.space.choices[0].options, edges_of_nodes(task)
    supernet = task.space.restrict({choice.name: [_SIMPLEST] for choice in task.space.choices}).supernet()
    beta = nn.Parameter(1e-3 * torch.randn(len(task.space.choices)))
    adam = torch.optim.Adam([beta], method.architecture_learning_rate, (0.5, 0.999), weight_decay=1e-3)

    def mixture() -> Tensor:
        weights = torch.zeros(len(beta), len(options))
        for edges in nodes:
            weights[edges, options.index(_SIMPLEST)] = torch.softmax(beta[edges], dim=0)
        return weights

    def move_beta(epoch: int, step: int) -> None:
        rows = task.images.rows("validation")
        batches = epoch_batches(rows, task.recipe.training.batch_size, [task.recipe.seed, epoch, 1])
        images, labels = task.read_augmented(batches[step % len(batches)], epoch, step)
        adam.zero_grad()
        torch.autograd.backward(functional.cross_entropy(supernet.mixed(images, mixture()), labels))
        adam.step()

    settings = task.recipe.training.changed(epochs=method.topology_epochs, steps=method.topology_steps)
    rows = task.images.rows("train")
    train(task, supernet, lambda images: supernet.mixed(images, mixture().detach()), rows, settings, move_beta)
    kept = {int(edges[place]) for edges in nodes for place in beta[edges].topk(method.inputs).indices}

    def with_operator(name: str) -> Architecture:
        words = [name if edge in kept else _NONE for edge in range(len(beta))]
        return task.space.architecture([options.index(word) for word in words])

    return with_operator(_POWERFUL), OneShotAccuracy(task, supernet)(with_operator(_SIMPLEST))


def edges_of_nodes(task: Task) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return for each node of the cells the positions of the choices of its edges."""
    groups = np.array([choice.group for choice in task.space.choices])
    return [np.flatnonzero(groups == group) for group in dict.fromkeys(groups.tolist())]

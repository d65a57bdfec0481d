"""Cell spaces: path, network and mixture agree, removed parts are not built, and costs equal torch's counts."""

import time
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from search_spaces import Architecture, Budget, UserError
from search_spaces.budget.integer_program import find_architecture
from search_spaces.cell.space import CellSpace
from search_spaces.cell.supernet import CellSupernet
from search_spaces.supernet import State
from search_spaces.vital_blocks import INPUT, OUTPUT, Link, vital
from tests.support.small_spaces import awake, cells, images_for, one_hot

SUBSETS = {"channels": 4, "resolution": 8, "num_classes": 5}
ONE = {**SUBSETS, "operations": 8, "subset": False, "cell_types": "two"}
SMALL: list[tuple[str, dict[str, Any]]] = [
    ("darts", SUBSETS),
    ("darts", {**SUBSETS, "affine": True, "operations": ["skip_connect", "dil_conv_5x5", "max_pool_3x3"], "cells": 2}),
    ("darts", {**ONE, "cells": 4, "resolution": 11, "stem_stride": 2}),
    ("darts-imagenet", {**SUBSETS, "resolution": 67, "cells": 3}),
    ("darts-imagenet", {**ONE, "cells": 3, "stem_stride": 1}),
    ("nats-bench", {**SUBSETS, "cells": 1}),
    ("nats-bench", {**SUBSETS, "cells": 2, "affine": False, "resolution": 9}),
]


@pytest.fixture(params=SMALL, ids=lambda small: small[0])
def space(request: pytest.FixtureRequest) -> CellSpace:
    return cells(*request.param)


def sparse(space: CellSpace, generator: np.random.Generator) -> Architecture:
    """Draw an architecture with many empty edges, so that some nodes have no input."""
    indices = list(space.sample(generator).indices)
    empty = [choice.read("none") for choice in space.choices]
    return space.architecture(
        [
            index if none is None or generator.random() < 0.3 else none
            for index, none in zip(indices, empty, strict=True)
        ]
    )


@pytest.mark.parametrize("training", [True, False])
def test_path_network_and_mixture_give_the_same(space: CellSpace, training: bool) -> None:
    supernet = awake(space).train(training)
    images = images_for(space)
    generator = np.random.default_rng(0)
    for draw in (space.sample, lambda generator: sparse(space, generator)):
        architecture = draw(generator)
        state = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        network = space.network(architecture).train(training)
        network.load_state_dict(space.network_state(architecture, state))
        expected = network.to(memory_format=torch.channels_last)(images)
        assert expected.shape == (4, 5)
        torch.testing.assert_close(supernet(images, architecture), expected, atol=1e-5, rtol=1e-5)
        weights = one_hot(space, architecture)
        torch.testing.assert_close(supernet.mixed(images, weights), expected, atol=1e-5, rtol=1e-5)
        weights.requires_grad_()
        torch.testing.assert_close(supernet.mixed(images, weights), expected, atol=1e-5, rtol=1e-5)


def test_a_network_holds_exactly_the_modules_of_its_path(space: CellSpace) -> None:
    supernet = space.supernet()
    for architecture in (space.sample(np.random.default_rng(1)), sparse(space, np.random.default_rng(1))):
        supernet.zero_grad()
        supernet.train()(images_for(space), architecture).square().sum().backward()
        path = {id(parameter) for module in supernet.path_modules(architecture) for parameter in module.parameters()}
        on_path = {name for name, parameter in supernet.named_parameters() if id(parameter) in path}
        touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
        network = space.network(architecture)
        assert touched <= on_path == {name for name, _ in network.named_parameters()}
        norms = [m for part in supernet.path_modules(architecture) for m in part.modules() if is_norm(m)]
        assert len(norms) == len(set(norms)) == sum(is_norm(module) for module in network.modules())
        edges = {
            name for name, module in network.named_modules() if isinstance(module, nn.ModuleDict) and not len(module)
        }
        assert edges <= {f"cells.{number}.edges" for number in range(len(network.cells))}


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d)


def by_hand(supernet: CellSupernet, images: torch.Tensor, weights: dict[str, float]) -> torch.Tensor:
    """Compute all operations of a DARTS network with one stem convolution, edges weighted by their names: `3-1`."""
    module = dict(supernet.named_modules())
    before = last = module["stem.0"](images)
    for number in range(len(supernet.cells)):
        cell = f"cells.{number}"
        nodes = [module[f"{cell}.inputs.0"](before), module[f"{cell}.inputs.1"](last)]
        for target in range(2, 6):
            node = torch.tensor(0.0)
            for source in range(target):
                for option in supernet.choices[0].options:
                    output = module[f"{cell}.edges.{target}-{source}.{option}"](nodes[source])
                    node = node + weights[f"{target}-{source}"] * output
            nodes.append(node)
        before, last = last, torch.cat(nodes[2:], dim=1)
    logits: torch.Tensor = module["head"](last)
    return logits


def test_gates_weigh_edges_and_get_gradients() -> None:
    space = cells("darts", SUBSETS)
    supernet = awake(space).eval()
    everything = space.architecture([(1 << 7) - 1] * 14)
    gates = torch.linspace(0.5, 1.5, 14, requires_grad=True)
    names = [choice.name.removeprefix("node").replace(".", "-") for choice in space.choices]
    images = images_for(space)
    output = supernet(images, everything, gates)
    with torch.no_grad():
        expected = by_hand(supernet, images, dict(zip(names, gates.tolist(), strict=True)))
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=1e-4)
    output.square().sum().backward()
    assert gates.grad is not None
    assert (gates.grad != 0).all()
    torch.testing.assert_close(supernet.mixed(images, gates[:, None].expand(14, 7)), expected, atol=1e-4, rtol=1e-4)


def test_a_mixture_weighs_operations_and_its_weights_get_gradients(space: CellSpace) -> None:
    supernet = awake(space).eval()
    images = images_for(space)
    weights = torch.rand(len(space.choices), len(space.choices[0].options), requires_grad=True)
    torch.autograd.backward(supernet.mixed(images, weights).square().sum())
    assert weights.grad is not None
    for choice, row in zip(space.choices, weights.grad, strict=True):
        assert [name for name, gradient in zip(choice.options, row, strict=True) if gradient == 0] in ([], ["none"])


def test_an_operation_with_weight_zero_runs_only_for_a_gradient() -> None:
    space = cells("darts", SUBSETS)
    supernet = awake(space).eval()
    weights = torch.rand(14, 7)
    weights[3:, 1] = 0
    weights[5] = 0
    for needed in (False, True):
        ran: set[str] = set()
        handles = [
            module.register_forward_hook(lambda module, inputs, output, name=name, ran=ran: ran.add(name))
            for name, module in supernet.named_modules()
            if ".edges." in name and name.count(".") == 4
        ]
        supernet.mixed(images_for(space), weights.clone().requires_grad_(needed))
        for handle in handles:
            handle.remove()
        assert len(ran) == 3 * (14 * 7 if needed else 3 * 7 + 10 * 6)
        assert ("cells.0.edges.4-0.sep_conv_3x3" in ran) == needed


def test_a_pruned_supernet_loads_its_part_of_the_parents_weights(space: CellSpace) -> None:
    whole = awake(space).eval()
    parent = whole.state_dict()
    pruned = space.restrict({choice.name: choice.options[-2:] for choice in space.choices[1:]})
    if space.choices[0].subset:
        pruned = pruned.restrict({space.choices[1].name: []})
    supernet = pruned.supernet()
    assert supernet.state_dict().keys() < parent.keys()
    supernet.load_state_dict({name: parent[name] for name in supernet.state_dict()})
    architecture = pruned.sample(np.random.default_rng(2))
    torch.testing.assert_close(supernet.eval()(images_for(space), architecture), whole(images_for(space), architecture))
    lost = [len(space.choices[0].options) - 2] * len(space.choices)
    lost[1] = space.choices[1].values([0, 1])[1]
    with pytest.raises(UserError, match=r"This supernet has no \w+ in \w+2\.\d; it has"):
        supernet(images_for(space), Architecture(space.name, tuple(lost), ""))


def test_state_keys_are_readable() -> None:
    names = cells("darts", ONE).supernet().state_dict()
    assert "stem.0.conv.weight" in names
    assert "cells.0.inputs.1.norm.running_mean" in names
    assert "cells.0.edges.2-0.sep_conv_3x3.1.depthwise.weight" in names
    assert "cells.1.edges.5-4.dil_conv_5x5.pointwise.weight" in names
    assert "cells.1.edges.3-0.skip_connect.even.weight" in names
    assert "head.classifier.bias" in names
    names = cells("nats-bench", {"cells": 1}).supernet().state_dict()
    assert "cells.1.inputs.0.shortcut.weight" in names
    assert "cells.2.edges.3-1.nor_conv_3x3.conv.weight" in names
    assert "head.norm.weight" in names


def test_initialisation_follows_torchs_seed_and_channels_last_stays(space: CellSpace) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        states.append(space.supernet().state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    supernet = awake(space)
    state: State = (images_for(space),)
    for segment in supernet.segments(sparse(space, np.random.default_rng(3))):
        assert all(features.is_contiguous(memory_format=torch.channels_last) for features in state)
        state = segment.run(state)
    assert state[0].shape == (4, space.num_classes)


def check_costs(space: CellSpace, classes: int | None, draws: int) -> None:
    generator = np.random.default_rng(0)
    architectures = [draw(generator) for draw in (space.sample, lambda g: sparse(space, g)) for _ in range(draws)]
    cost = space.costs(num_classes=classes).cost(architectures)
    assert cost["macs"].dtype == cost["params"].dtype == np.int64
    images = torch.zeros(1, 3, space.resolution, space.resolution)
    for architecture, macs, params in zip(architectures, cost["macs"], cost["params"], strict=True):
        network = space.network(architecture, classes).eval()
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            assert network(images).shape == (1, classes or space.num_classes)
        assert macs == counter.get_total_flops() // 2
        assert params == sum(parameter.numel() for parameter in network.parameters())


def test_costs_equal_what_torch_counts(space: CellSpace) -> None:
    check_costs(space, None, draws=2)
    check_costs(space, 7, draws=1)


@pytest.mark.slow
def test_costs_of_a_hundred_architectures_equal_what_torch_counts(space: CellSpace) -> None:
    check_costs(space, None, draws=50)


def test_the_costs_of_all_operations_are_the_supernets(space: CellSpace) -> None:
    if not space.choices[0].subset:
        space = space.restrict({choice.name: [choice.options[-1]] for choice in space.choices})
    supernet = space.supernet()
    assert space.costs().bounds()["params"][1] == sum(parameter.numel() for parameter in supernet.parameters())


def test_costs_at_another_resolution_equal_the_other_spaces() -> None:
    space = cells("darts", {"channels": 4})
    architectures = [space.sample(np.random.default_rng(1))]
    other = cells("darts", {"channels": 4, "resolution": 48, "num_classes": 3})
    assert space.costs(resolution=48, num_classes=3).cost(architectures) == other.costs().cost(architectures)


def test_10000_architectures_are_costed_in_well_under_a_second() -> None:
    space = search_spaces.load("darts")
    generator = np.random.default_rng(0)
    indices = generator.integers(0, 128, (10_000, 14))
    start = time.perf_counter()
    space.costs().total(indices)
    assert time.perf_counter() - start < 0.5


def few() -> CellSpace:
    """Restrict to four edges with three operations, two of them with equal costs: 4,096 architectures."""
    space = cells("darts", {**SUBSETS, "operations": ["skip_connect", "sep_conv_3x3", "dil_conv_3x3"], "cells": 3})
    return space.restrict({choice.name: [] for choice in space.choices if choice.name not in KEPT})


KEPT = ("node2.0", "node2.1", "node3.0", "node4.3")


def test_bounds_and_expected_costs_of_subsets_are_those_of_all_architectures() -> None:
    space = few()
    costs = space.costs()
    every = costs.cost([space.architecture(values) for values in product(*space.values())])
    assert len(every["macs"]) == space.size() == 4096
    halves = torch.full((14, 3), 0.5, dtype=torch.float64)
    for resource, (least, greatest) in costs.bounds().items():
        assert (least, greatest) == (every[resource].min().item(), every[resource].max().item())
        expected = costs.expected(halves)[resource]
        assert expected.item() == pytest.approx(every[resource].mean().item())


def test_budgets_of_subsets_agree_with_all_architectures() -> None:
    space = few()
    costs = space.costs()
    every = costs.cost([space.architecture(values) for values in product(*space.values())])
    generator = np.random.default_rng(0)
    verdicts = []
    for _ in range(12):
        windows = {}
        some = generator.integers(4096)
        for resource in ("macs", "params"):
            centre = every[resource][some].item() * (1 + 0.02 * generator.normal())
            share = 10.0 ** -generator.uniform(1, 3)
            windows[resource] = {"min": centre * (1 - share), "max": centre * (1 + share)}
        budget = Budget.model_validate(windows)
        verdicts.append(bool(budget.met(every).any()))
        example = budget.example(space, costs, generator)
        if verdicts[-1]:
            budget.check(costs)
            assert example is not None
            assert budget.met(costs.cost([example])).all()
        else:
            assert example is None
            with pytest.raises(UserError, match=r"exclude each other|met by no"):
                budget.check(costs)
    assert 3 < sum(verdicts) < 10


def test_the_least_sum_agrees_with_all_architectures_even_if_equal_edges_have_other_objectives() -> None:
    space = few()
    costs = space.costs()
    every = list(product(*space.values()))
    macs = costs.cost([space.architecture(values) for values in every])["macs"]
    taken = np.array(every)[:, :, None] >> np.arange(3) & 1
    generator = np.random.default_rng(0)
    for _ in range(6):
        objective = generator.random((14, 3))
        sums = (taken * objective).sum(axis=(1, 2))
        window = (float(np.quantile(macs, generator.uniform(0.2, 0.8))), np.inf)
        least = sums[macs >= window[0]].min()
        exact = find_architecture(costs, {"macs": window}, objective, grouped=False)
        assert exact == every[int(np.flatnonzero((sums == least) & (macs >= window[0]))[0])]
        for gap in (0.3, 0.05):
            indices = find_architecture(costs, {"macs": window}, objective, gap=gap, grouped=False)
            assert indices is not None
            assert macs[every.index(indices)] >= window[0]
            assert sums[every.index(indices)] * (1 - gap) <= least + 1e-9


@pytest.mark.parametrize(
    "limits",
    [
        {"params": {"max": "0.4M"}},
        {"params": {"max": "1.8M"}, "macs": {"min": "280M", "max": "290M"}},
        {"macs": {"min": "480M"}},
    ],
)
def test_examples_of_a_budget_vary(limits: dict[str, Any]) -> None:
    space = cells("darts", {})
    costs = space.costs()
    budget = Budget.model_validate(limits)
    generator = np.random.default_rng(0)
    examples = [budget.example(space, costs, generator) for _ in range(8)]
    architectures = [example for example in examples if example is not None]
    assert len(set(architectures)) == 8
    assert budget.met(costs.cost(architectures)).all()


def test_no_edge_of_a_cell_is_vital(space: CellSpace) -> None:
    assert space.vital() == []


def test_links_are_the_cells_graphs() -> None:
    links = cells("darts", SUBSETS).links()
    assert links[:4] == [Link(INPUT, "stem0"), Link("stem0", "cell0.0"), Link("stem0", "cell0.1"), links[3]]
    assert links[3] == Link("cell0.0", "cell0.2", 0)
    assert Link("cell2.4", "cell2.5", 13) in links
    assert Link("cell1", "cell2.1") in links
    assert Link("cell0", "cell2.0") in links
    assert Link("cell2.1", "cell2") not in links
    assert links[-1] == Link("cell2", OUTPUT)
    only_path = [link for link in links if link.choice in (None, 0, 5)]
    assert vital(only_path) == []
    assert vital([link for link in only_path if link.choice != 0]) == [5]
    nats = cells("nats-bench", {"cells": 1}).links()
    assert nats[-2:] == [Link("cell2.3", "cell2"), Link("cell2", OUTPUT)]
    assert vital([link for link in nats if link.choice in (None, 0, 4)]) == [0, 4]


def test_only_leaves_one_architecture_for_any_subsets() -> None:
    space = cells("darts", SUBSETS)
    architecture = sparse(space, np.random.default_rng(0))
    only = space.only(architecture)
    again = search_spaces.from_specification(only.specification())
    for part in (only, again):
        assert part.size() == 1
        assert part.sample(np.random.default_rng(1)) == architecture
        assert architecture in part
        assert space.sample(np.random.default_rng(1)) not in part
    assert again.specification() == only.specification()
    assert only.supernet().state_dict().keys() == space.network(architecture).state_dict().keys()


def test_images_too_small_are_refused() -> None:
    with pytest.raises(UserError, match=r"^darts: images of 3 pixels are too small .* at least 4 pixels"):
        search_spaces.load("darts", resolution=3)
    space = search_spaces.load("darts-imagenet")
    with pytest.raises(UserError, match="at least 32 pixels"):
        space.costs(resolution=31)

"""The benchmark of FP-NAS and DMaskingNAS: equal conditions, controls within the budget, and memory."""

import torch

from benchmarks.fp_nas.dmasking import DRAWN, RANDOM, controls, kept_bytes, recipes
from benchmarks.fp_nas.memory import peak_kept_bytes
from raynas.study.method import method_of_recipe
from raynas.study.run_plan import plan
from search_spaces import SearchSpace
from tuners.dmasking.masked_mixture import MaskedMixture


def test_both_methods_have_the_same_conditions() -> None:
    of_seed = recipes(1, ["fit.epochs=2"])
    fp_nas, dmasking = (recipe.json_value() for recipe in of_seed.values())
    assert {key for key in fp_nas if fp_nas[key] != dmasking[key]} == {"method", "notes"}
    assert fp_nas["method"]["epochs"] == dmasking["method"]["epochs"] == 40
    assert (fp_nas["seed"], fp_nas["fit"]["epochs"]) == (1, 2)
    for recipe in of_seed.values():
        method_of_recipe(recipe).check(plan(recipe))


def test_controls_are_within_the_budget_and_the_costliest_is_near_its_limit() -> None:
    planned = plan(recipes(0, [])["fp-nas-digits"])
    drawn = controls(planned, 0)
    assert drawn == controls(planned, 0) != controls(planned, 1)
    assert [name for name, _, _ in drawn] == ["random within the budget"] * RANDOM + ["costliest within the budget"]
    macs = planned.costs.cost([architecture for _, architecture, _ in drawn])["macs"]
    assert (macs <= 600_000).all()
    assert macs[-1] == macs.max() > 595_000
    assert DRAWN > RANDOM


def test_a_mixture_keeps_more_than_a_path() -> None:
    path, mixture = (kept_bytes(recipe)[0] for recipe in recipes(0, []).values())
    assert 2 * path < mixture


def test_the_number_of_widths_costs_no_memory() -> None:
    """FBNetV2: all options of channels and expansions are masks. The widest alone keeps as much, but for the masks."""
    space = plan(recipes(0, [])["dmasking-digits"]).space
    widths = [choice for choice in space.choices if choice.name.endswith(("expansion", "channels"))]
    widest = space.restrict({choice.name: choice.options[-1:] for choice in widths})
    assert space.size() > 10_000 * widest.size()
    assert peak_of_mixture(space) < 1.02 * peak_of_mixture(widest)


def peak_of_mixture(space: SearchSpace) -> int:
    torch.manual_seed(0)
    supernet = space.supernet().train()
    weights = MaskedMixture().begin(space, space.costs(), 0).probabilities().requires_grad_()
    images = torch.randn(16, 3, space.resolution, space.resolution)
    return peak_kept_bytes(lambda: torch.autograd.backward(supernet.mixed(images, weights).sum()))

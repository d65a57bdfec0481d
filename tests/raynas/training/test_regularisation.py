"""What a network trained alone may have besides its loss: stochastic depth, a teacher, averaged weights, a policy."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import search_spaces
from raynas.data import DataSettings, Images, open_images, prepare, training_batch
from raynas.interfaces.objective import MicroBatch, TrainingStep
from raynas.recipe.settings import FitSettings, TeacherSettings
from raynas.training.standalone_training import check_standalone_settings, standalone_objective
from raynas.training.teacher import Teacher, check_teacher
from raynas.training.weight_average import moving_average
from search_spaces import SearchSpace, UserError
from search_spaces.supernet import Supernet
from tests.support.small_spaces import small_elastic_space

IMAGES = 8
CHAIN = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=3)
CHAIN_TEXT = "nas-bench-macro: k5e6 k3e3 | k3e3 k3e3 skip | k5e6 skip k3e3"


@pytest.fixture(scope="module")
def digits() -> Images:
    return open_images(prepare(DataSettings(augment="none"), 16, 0))


def gradients(
    space: SearchSpace, supernet: Supernet, settings: FitSettings, digits: Images, shares: list[int]
) -> Tensor:
    """Of one step on fixed images that come in micro-batches with these bounds; batch norm stands still."""
    images = torch.randn(IMAGES, 3, space.resolution, space.resolution, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(IMAGES) % 3
    batches = [MicroBatch(images[a:b], labels[a:b], (b - a) / IMAGES, a) for a, b in pairwise(shares)]
    step = TrainingStep(space, supernet, batches, np.random.default_rng(3), functional.cross_entropy)
    ((update,),) = standalone_objective(settings, digits.prepared).begin(space, space.costs(), 0).passes(0)
    supernet.zero_grad()
    update.accumulate(step)
    return torch.cat([weight.grad.flatten() for weight in supernet.parameters() if weight.grad is not None])


def test_branches_are_what_is_added_to_what_went_past() -> None:
    """Zeroed, they leave a network of what always runs: the same as with those blocks skipped."""
    space, supernet = CHAIN, CHAIN.supernet().eval()
    taken = space.parse(CHAIN_TEXT)
    branches = supernet.branches(taken)
    assert len(branches) == 3, "the second, fourth and eighth block keep their shape and are no skip"
    for branch in branches:
        (norm,) = [part for part in branch.modules() if isinstance(part, nn.BatchNorm2d)]
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    images = torch.randn(2, 3, 16, 16)
    bare = space.parse("nas-bench-macro: k5e6 skip | k3e3 skip skip | k5e6 skip skip")
    torch.testing.assert_close(supernet(images, taken), supernet(images, bare))


def test_a_sliced_network_has_a_branch_wherever_its_shape_stays() -> None:
    space = small_elastic_space()
    network_free = {str(taken): space.supernet().branches(taken) for taken in [space.sample(np.random.default_rng(2))]}
    for text, branches in network_free.items():
        network = space.network(space.parse(text))
        residuals = [part for part in network.modules() if type(part).__name__ == "Residual"]
        assert len(branches) == len(residuals)


@pytest.mark.parametrize("kind", ["chain", "sliced"])
def test_stochastic_depth_is_the_same_however_the_batch_is_shared_out(kind: str, digits: Images) -> None:
    torch.manual_seed(0)
    space = CHAIN if kind == "chain" else small_elastic_space()
    fixed = space.only(space.parse(CHAIN_TEXT) if kind == "chain" else space.sample(np.random.default_rng(4)))
    supernet = fixed.supernet().eval()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    settings = FitSettings(stochastic_depth=0.5)
    whole = gradients(fixed, supernet, settings, digits, [0, IMAGES])
    torch.testing.assert_close(gradients(fixed, supernet, settings, digits, [0, 3, IMAGES]), whole)
    assert not torch.allclose(gradients(fixed, supernet, FitSettings(), digits, [0, IMAGES]), whole)
    assert not any(module._forward_hooks for module in supernet.modules())


def test_depth_is_for_blocks_and_paths_for_cells() -> None:
    with pytest.raises(UserError, match=r"set fit\.drop_path"):
        check_standalone_settings(search_spaces.load("nats-bench"), FitSettings(stochastic_depth=0.2))
    check_standalone_settings(CHAIN, FitSettings(stochastic_depth=0.2))


def saved_teacher(folder: Path, classes: int) -> Path:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(5)
    file = folder / "teacher.pth"
    torch.save(squeezenet1_1(num_classes=classes).state_dict(), file)
    return file


def test_a_teacher_is_asked_what_it_would_be_in_its_own_colours(tmp_path: Path) -> None:
    """The loss against torch's own divergence, which differs from the cross-entropy by the answers' entropy."""
    from torchvision.models import squeezenet1_1

    settings = TeacherSettings(
        model="squeezenet1_1", weights=str(saved_teacher(tmp_path, 3)), share=0.25, temperature=2
    )
    mean, std = (0.2, 0.4, 0.6), (0.3, 0.2, 0.1)
    colours = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = (colours - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    network = squeezenet1_1(num_classes=3).eval()
    network.load_state_dict(torch.load(tmp_path / "teacher.pth", weights_only=True))
    theirs = (colours - torch.tensor(settings.mean)[:, None, None]) / torch.tensor(settings.std)[:, None, None]
    answers = (network(theirs) / 2).softmax(1).detach()
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    entropy = -(answers * answers.log()).sum(1).mean()
    divergence = functional.kl_div((logits / 2).log_softmax(1), answers, reduction="batchmean")
    expected = 0.75 * functional.cross_entropy(logits, labels) + 0.25 * 4 * (divergence + entropy)
    loss = Teacher(settings, 3, mean, std).loss(ours, functional.cross_entropy)
    torch.testing.assert_close(loss(logits, labels), expected)


def test_a_teacher_changes_the_gradients_and_is_in_no_checkpoint(tmp_path: Path, digits: Images) -> None:
    fixed = CHAIN.only(CHAIN.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    teacher = TeacherSettings(model="squeezenet1_1", weights=str(saved_teacher(tmp_path, 3)))
    settings = FitSettings(teacher=teacher)
    learner = standalone_objective(settings, digits.prepared).begin(fixed, fixed.costs(), 0)
    assert not learner.state_dict()
    assert not list(learner.own_weights())
    large = search_spaces.load("nas-bench-macro", width=0.25, resolution=32, num_classes=3)  # squeezenet's least
    fixed = large.only(large.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    taught = gradients(fixed, supernet, settings, digits, [0, 3, IMAGES])
    assert not torch.allclose(gradients(fixed, supernet, FitSettings(), digits, [0, IMAGES]), taught)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "resnet17"}, "no classification model 'resnet17'; the nearest is 'resnet18'"),
        ({"weights": "nowhere.pth"}, "nowhere.pth cannot be read"),
        ({"model": "squeezenet1_0"}, "not the weights of a squeezenet1_0 with 3 classes"),
        ({"weights": "DEFAULT"}, "have 1000 classes, but the data has 3"),
    ],
)
def test_a_teacher_that_cannot_be_had_is_refused(changes: dict[str, str], sentence: str, tmp_path: Path) -> None:
    given = {"model": "squeezenet1_1", "weights": str(saved_teacher(tmp_path, 3)), **changes}
    with pytest.raises(UserError, match=sentence):
        check_teacher(TeacherSettings.model_validate(given), 3)


def test_the_average_of_weights_is_that_of_its_formula() -> None:
    """Three steps by hand: what is left of the average is 2/11, 3/12 and then at most the setting."""
    network = nn.Linear(1, 1, bias=False)
    average = moving_average(network, 0.26)
    averaged = average.module.get_parameter("weight")
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        nn.init.constant_(network.weight, value)
        average.update_parameters(network)
        left = 0.0 if step == 0 else min(0.26, (1 + step) / (10 + step))
        expected = left * expected + (1 - left) * value
    assert averaged.item() == pytest.approx(expected)


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment", "autoaugment-cifar10"])
def test_a_policy_follows_from_the_step_and_the_place_in_the_batch(policy: str, digits: Images) -> None:
    rows = digits.rows("train")[:12]
    whole, labels = training_batch(digits, rows, 1, 2, 3, policy=policy)
    part, part_labels = training_batch(digits, rows, 1, 2, 3, slice(5, 9), policy=policy)
    assert torch.equal(whole[5:9], part)
    assert torch.equal(labels[5:9], part_labels)
    plain, _ = training_batch(digits, rows, 1, 2, 3)
    other, _ = training_batch(digits, rows, 1, 2, 4, policy=policy)
    assert not torch.equal(whole, plain)
    assert not torch.equal(whole, other)


def test_torch_draws_as_if_no_policy_had_been_asked_for(digits: Images) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    training_batch(digits, digits.rows("train")[:4], 1, 2, 3, policy="randaugment")
    assert torch.equal(torch.rand(3), expected)

"""Regularisation: stochastic depth, dropout, a teacher, averaged weights, policies and colours, initial gammas."""

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
from raynas.data.augmentation import apply_policy
from raynas.interfaces.objective import MicroBatch, TrainingStep
from raynas.recipe.settings import FitSettings, TeacherSettings
from raynas.training.standalone_checks import check_standalone_settings
from raynas.training.standalone_training import Dropout, classifier, standalone_objective
from raynas.training.teacher import Teacher, check_teacher
from raynas.training.weight_average import moving_average
from search_spaces import SearchSpace, UserError
from search_spaces.layers.initialise import set_initial_gamma
from search_spaces.supernet import Supernet
from tests.support.small_spaces import small_elastic_space

IMAGES = 8
CHAIN = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=3)
CHAIN_TEXT = "nas-bench-macro: k5e6 k3e3 | k3e3 k3e3 skip | k5e6 skip k3e3"


@pytest.fixture(scope="module")
def digits() -> Images:
    return open_images(prepare(DataSettings(augment="none"), 16, 0))


def gradients(
    space: SearchSpace, supernet: Supernet, settings: FitSettings, digits: Images, bounds: list[int]
) -> Tensor:
    """Return the gradients of a training step on fixed images, in micro-batches with these bounds."""
    images = torch.randn(IMAGES, 3, space.resolution, space.resolution, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(IMAGES) % 3
    batches = [
        MicroBatch(images[start:end], labels[start:end], (end - start) / IMAGES, start)
        for start, end in pairwise(bounds)
    ]
    step = TrainingStep(space, supernet, batches, np.random.default_rng(3), functional.cross_entropy)
    ((update,),) = standalone_objective(settings, digits.prepared).begin(space, space.costs(), 0).passes(0)
    supernet.zero_grad()
    update.accumulate(step)
    return torch.cat([weight.grad.flatten() for weight in supernet.parameters() if weight.grad is not None])


def test_branches_are_added_to_the_inputs_of_their_blocks() -> None:
    """With zeroed branches a network is equal to the network that skips those blocks."""
    space, supernet = CHAIN, CHAIN.supernet().eval()
    architecture = space.parse(CHAIN_TEXT)
    branches = supernet.branches(architecture)
    assert len(branches) == 3, "the second, fourth and eighth block keep their shape and are not skipped"
    for branch in branches:
        (norm,) = [part for part in branch.modules() if isinstance(part, nn.BatchNorm2d)]
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    images = torch.randn(2, 3, 16, 16)
    without_branches = space.parse("nas-bench-macro: k5e6 skip | k3e3 skip skip | k5e6 skip skip")
    torch.testing.assert_close(supernet(images, architecture), supernet(images, without_branches))


def test_an_elastic_network_has_a_branch_for_each_residual_block() -> None:
    space = small_elastic_space()
    architecture = space.sample(np.random.default_rng(2))
    residuals = [part for part in space.network(architecture).modules() if type(part).__name__ == "Residual"]
    assert len(space.supernet().branches(architecture)) == len(residuals)


@pytest.mark.parametrize("kind", ["chain", "elastic"])
def test_stochastic_depth_does_not_depend_on_micro_batches(kind: str, digits: Images) -> None:
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


def test_stochastic_depth_is_refused_for_networks_of_cells() -> None:
    with pytest.raises(UserError, match=r"set fit\.drop_path"):
        check_standalone_settings(search_spaces.load("nats-bench"), FitSettings(stochastic_depth=0.2))
    check_standalone_settings(CHAIN, FitSettings(stochastic_depth=0.2))


def save_teacher(folder: Path, classes: int) -> Path:
    """Write the weights of a torchvision network, and return the file."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(5)
    file = folder / "teacher.pth"
    torch.save(squeezenet1_1(num_classes=classes).state_dict(), file)
    return file


def test_the_loss_of_a_teacher_is_that_of_torch(tmp_path: Path) -> None:
    """The teacher gets its own normalisation. Torch's divergence lacks the entropy of the teacher's probabilities."""
    from torchvision.models import squeezenet1_1

    settings = TeacherSettings(model="squeezenet1_1", weights=str(save_teacher(tmp_path, 3)), share=0.25, temperature=2)
    mean, std = (0.2, 0.4, 0.6), (0.3, 0.2, 0.1)
    colours = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = (colours - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    network = squeezenet1_1(num_classes=3).eval()
    network.load_state_dict(torch.load(tmp_path / "teacher.pth", weights_only=True))
    theirs = (colours - torch.tensor(settings.mean)[:, None, None]) / torch.tensor(settings.std)[:, None, None]
    probabilities = (network(theirs) / 2).softmax(1).detach()
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    divergence = functional.kl_div((logits / 2).log_softmax(1), probabilities, reduction="batchmean")
    expected = 0.75 * functional.cross_entropy(logits, labels) + 0.25 * 4 * (divergence + entropy)
    loss = Teacher(settings, 3, mean, std).loss(ours, functional.cross_entropy)
    torch.testing.assert_close(loss(logits, labels), expected)


def test_a_teacher_changes_the_gradients_but_is_not_in_the_learner(tmp_path: Path, digits: Images) -> None:
    fixed = CHAIN.only(CHAIN.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    teacher = TeacherSettings(model="squeezenet1_1", weights=str(save_teacher(tmp_path, 3)))
    settings = FitSettings(teacher=teacher)
    learner = standalone_objective(settings, digits.prepared).begin(fixed, fixed.costs(), 0)
    assert not learner.state_dict()
    assert not list(learner.own_weights())
    large = search_spaces.load("nas-bench-macro", width=0.25, resolution=32, num_classes=3)  # squeezenet's smallest
    fixed = large.only(large.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    with_teacher = gradients(fixed, supernet, settings, digits, [0, 3, IMAGES])
    assert not torch.allclose(gradients(fixed, supernet, FitSettings(), digits, [0, IMAGES]), with_teacher)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet17"}, "no classification model 'resnet17'; the nearest is 'resnet18'"),
        ({"weights": "nowhere.pth"}, "nowhere.pth cannot be read"),
        ({"model": "squeezenet1_0"}, "not the weights of a squeezenet1_0 with 3 classes"),
        ({"weights": "DEFAULT"}, "have 1,000 classes, but the data has 3"),
    ],
)
def test_a_teacher_that_cannot_be_loaded_is_refused(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    settings = {"model": "squeezenet1_1", "weights": str(save_teacher(tmp_path, 3)), **changes}
    with pytest.raises(UserError, match=message):
        check_teacher(TeacherSettings.model_validate(settings), 3)


def test_the_average_of_weights_follows_its_formula() -> None:
    """Four training steps by hand: the average keeps 0, 2/11, 3/12, then at most the share of the setting."""
    network = nn.Linear(1, 1, bias=False)
    average = moving_average(network, 0.26)
    averaged = average.module.get_parameter("weight")
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        nn.init.constant_(network.weight, value)
        average.update_parameters(network)
        kept = 0.0 if step == 0 else min(0.26, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
    assert averaged.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("policy", "color_jitter"), [("randaugment", 0), ("autoaugment", 0), ("autoaugment-cifar10", 0), ("none", 0.4)]
)
def test_colours_depend_on_the_training_step_and_the_place_in_the_batch(
    policy: str, color_jitter: float, digits: Images
) -> None:
    rows = digits.rows("train")[:12]
    whole, labels = training_batch(digits, rows, 1, 2, 3, policy=policy, color_jitter=color_jitter)
    part, part_labels = training_batch(digits, rows, 1, 2, 3, slice(5, 9), policy=policy, color_jitter=color_jitter)
    assert torch.equal(whole[5:9], part)
    assert torch.equal(labels[5:9], part_labels)
    plain, _ = training_batch(digits, rows, 1, 2, 3)
    other, _ = training_batch(digits, rows, 1, 2, 4, policy=policy, color_jitter=color_jitter)
    assert not torch.equal(whole, plain)
    assert not torch.equal(whole, other)


def test_the_changes_of_colours_are_those_of_torchvision() -> None:
    """A grey image has no saturation, and no contrast: only its brightness changes, by at most the share."""
    grey = torch.full((200, 4, 4, 3), 100, dtype=torch.uint8)
    changed = apply_policy(grey, "none", 0.4, np.arange(200))
    levels = changed.float().mean((1, 2, 3))
    assert (changed == changed[:, :1, :1, :1]).all()
    assert 60 <= levels.min() < 70
    assert 130 < levels.max() <= 140


def test_a_policy_does_not_change_the_random_state_of_torch(digits: Images) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    training_batch(digits, digits.rows("train")[:4], 1, 2, 3, policy="randaugment")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", ["chain", "elastic"])
def test_the_initial_gamma_is_that_of_the_last_norm_of_each_residual_branch(kind: str) -> None:
    space = CHAIN if kind == "chain" else small_elastic_space()
    architecture = space.parse(CHAIN_TEXT) if kind == "chain" else space.sample(np.random.default_rng(4))
    supernet = space.supernet().eval()

    def zeros() -> int:
        norms = [part for part in supernet.modules() if isinstance(part, nn.BatchNorm2d)]
        return sum(not norm.weight.any() for norm in norms)

    assert zeros() >= len(supernet.branches(architecture)) > 0
    set_initial_gamma(supernet, 1.0)
    assert zeros() == 0
    set_initial_gamma(supernet, 0.0)
    assert zeros() >= len(supernet.branches(architecture))


def test_dropout_sets_its_share_of_the_features_to_zero_and_does_not_depend_on_micro_batches(digits: Images) -> None:
    features = torch.ones(1000, 40)
    dropped = Dropout(0.3, 7, 1000, 0)(features)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(Dropout(0.3, 7, 1000, 600)(features[600:]), dropped[600:])
    fixed = CHAIN.only(CHAIN.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    settings = FitSettings(dropout=0.5)
    whole = gradients(fixed, supernet, settings, digits, [0, IMAGES])
    torch.testing.assert_close(gradients(fixed, supernet, settings, digits, [0, 3, IMAGES]), whole)
    assert not torch.allclose(gradients(fixed, supernet, FitSettings(), digits, [0, IMAGES]), whole)
    assert not any(module._forward_pre_hooks for module in supernet.modules())


@pytest.mark.parametrize("name", ["nas-bench-macro", "mobilenetv3", "fbnetv2-f", "nats-bench"])
def test_the_last_linear_layer_of_a_network_is_its_classifier(name: str) -> None:
    space = search_spaces.load(name, num_classes=7)
    fixed = space.only(space.sample(np.random.default_rng(0)))
    assert classifier(fixed.supernet()).out_features == 7

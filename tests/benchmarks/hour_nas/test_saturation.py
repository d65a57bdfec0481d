"""Equation 11 by hand, and the curves of two epochs of training."""

import pytest
import torch

from benchmarks.common.plain_training import read_images
from benchmarks.hour_nas.saturation import (
    epochs_to,
    is_downsampling,
    layer_rows,
    lead_rows,
    plot,
    saturation,
    stage_of,
    train_resnet20,
)


def test_equation_11_by_hand() -> None:
    """The distances to the last weights [3, 4] are 5, 3, |(-3, 4)| = 5 / 2 and 0."""
    weights = [torch.tensor(values) for values in ([[0.0, 0.0]], [[3.0, 1.0]], [[1.5, 2.0]], [[3.0, 4.0]])]
    assert saturation(weights) == pytest.approx([0.0, 0.4, 0.5, 1.0])


def test_weights_that_end_where_they_began_have_no_saturation() -> None:
    with pytest.raises(ZeroDivisionError):
        saturation([torch.ones(2), torch.zeros(2), torch.ones(2)])


def test_a_level_is_reached_between_epochs() -> None:
    assert epochs_to(0.5, [0.0, 0.4, 0.6, 1.0]) == pytest.approx(1.5)
    assert epochs_to(0.5, [0.0, -0.2, 0.0, 1.0]) == pytest.approx(2.5)
    assert epochs_to(0.0, [0.0, 1.0]) == 0.0


def test_the_curve_of_every_convolution_runs_from_0_to_1() -> None:
    torch.set_num_threads(1)
    curves, top1 = train_resnet20(read_images(None, 8, 0), epochs=2, seed=0)
    assert len(curves) == 19
    assert all(len(curve) == 3 for curve in curves.values())
    assert all(curve[0] == 0 and curve[-1] == 1 for curve in curves.values())
    assert 0 <= top1 <= 100
    assert sum(map(is_downsampling, curves)) == 4
    assert [stage_of(layer) for layer in curves] == ["stem"] + 6 * ["block1"] + 6 * ["block2"] + 6 * ["block3"]
    assert [len(panel.lines) for panel in plot(curves).axes] == [6, 6, 6]


def test_the_lead_of_a_kind_of_layers_by_hand() -> None:
    """In one of two seeds the stem is half-way after 1 epoch, the downsampling blocks after 2, the others after 3."""
    after = {1: [0.0, 0.5, 0.6, 1.0], 2: [0.0, 0.4, 0.5, 1.0], 3: [0.0, 0.0, 0.0, 0.5]}
    layers = ["blocks.stage1-1.first.0", "blocks.stage2-1.first.0", "blocks.stage2-2.first.0"]
    layers += ["blocks.stage3-1.first.0", "blocks.stage3-2.first.0"]
    kinds = [3, 2, 3, 2, 3]
    ahead = {"stem.0": after[1], **{layer: after[kind] for layer, kind in zip(layers, kinds, strict=True)}}
    equal = dict.fromkeys(ahead, after[2])
    stem, second, third = lead_rows([ahead, equal], [equal, equal])
    assert stem == ["stem before all other layers", "0.8 ± 0.8", "1 of 2", "0.0 ± 0.0", "0 of 2"]
    assert second[1:] == third[1:] == ["0.5 ± 0.5", "1 of 2", "0.0 ± 0.0", "0 of 2"]
    assert next(layer_rows([ahead, equal], [equal, equal])) == ["stem", "stem", "1.5 ± 0.5", "2.0 ± 0.0"]

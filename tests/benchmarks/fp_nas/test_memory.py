"""A step of FP-NAS keeps one network's activations; counted by hand for a graph of two layers."""

import torch
from torch import nn

from benchmarks.fp_nas.memory import measure, most_kept


def test_what_two_graphs_keep_one_after_the_other_is_what_one_keeps() -> None:
    layer = nn.Linear(4, 4, bias=False)

    def graph() -> None:
        torch.autograd.backward(layer(torch.ones(2, 4)).square().sum())

    def twice() -> None:
        graph()
        graph()

    inputs, outputs = 2 * 4 * 4, 2 * 4 * 4
    assert most_kept(graph) == inputs + outputs
    assert most_kept(twice) == inputs + outputs

    def both_at_once() -> None:
        losses = [layer(torch.ones(2, 4)).square().sum() for _ in range(2)]
        torch.autograd.backward(losses)

    assert most_kept(both_at_once) == 2 * (inputs + outputs)


def test_options_and_samples_do_not_count_and_a_mixture_grows() -> None:
    torch.set_num_threads(1)
    (few, more), mixture, weights = measure(2, (1, 5), batch=4)
    (many, _), larger, more_weights = measure(6, (1, 5), batch=4)
    assert few == more == many
    assert larger > 2 * mixture > 2 * few
    assert more_weights > weights

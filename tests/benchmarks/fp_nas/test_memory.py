"""The bytes that a training step of FP-NAS keeps; counted by hand for a graph of one layer."""

import torch
from torch import nn

from benchmarks.fp_nas.memory import measure, peak_kept_bytes


def test_two_graphs_in_sequence_keep_as_much_as_one_graph() -> None:
    layer = nn.Linear(4, 4, bias=False)

    def graph() -> None:
        torch.autograd.backward(layer(torch.ones(2, 4)).square().sum())

    def graph_twice() -> None:
        graph()
        graph()

    inputs, outputs = 2 * 4 * 4, 2 * 4 * 4
    assert peak_kept_bytes(graph) == inputs + outputs
    assert peak_kept_bytes(graph_twice) == inputs + outputs

    def both_at_once() -> None:
        losses = [layer(torch.ones(2, 4)).square().sum() for _ in range(2)]
        torch.autograd.backward(losses)

    assert peak_kept_bytes(both_at_once) == 2 * (inputs + outputs)


def test_options_and_samples_change_no_peak_but_that_of_a_mixture() -> None:
    torch.set_num_threads(1)
    (few, more), mixture, weights = measure(2, (1, 5), batch=4)
    (many, _), larger, more_weights = measure(6, (1, 5), batch=4)
    assert few == more == many
    assert larger > 2 * mixture > 2 * few
    assert more_weights > weights

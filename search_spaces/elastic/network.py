"""The stand-alone network of an elastic space, with plain layers of the needed widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from search_spaces.elastic.groups import Group, Variables
from search_spaces.elastic.layers import cut
from search_spaces.elastic.split_attention import SplitAttention
from search_spaces.layers.convolutions import Residual, conv_bn
from search_spaces.layers.shapes import Place

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "swish": nn.SiLU}


def build_block(group: Group, taken: Variables, place: Place) -> nn.Module:
    """Build one block: (N, in_channels, size, size) to (N, out_channels, out_size, out_size)."""
    in_channels, channels, stride = place.in_channels, place.out_channels, place.stride
    if taken.kernel == 0:
        shortcut = nn.Identity() if place.keeps_shape else conv_bn(in_channels, channels, 1, stride)
        return nn.Sequential(OrderedDict(skip=shortcut))
    hidden = group.hidden(in_channels, taken.expansion, channels)
    splits, activation = max(taken.splits, 1), ACTIVATIONS[taken.activation]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if group.expands:
        layers["expand"] = conv_bn(in_channels, hidden, 1, activation=activation)
    layers["depthwise"] = conv_bn(hidden, hidden * splits, taken.kernel, stride, hidden, activation)
    if taken.splits:
        layers["attention"] = SplitAttention(hidden, splits)
    layers["project"] = conv_bn(hidden, channels, 1)
    return Residual(layers) if place.keeps_shape else nn.Sequential(layers)


def network_state(
    network: nn.Module, groups: Sequence[Group], taken: Sequence[Variables], supernet_state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a supernet's weights of one path, cut to the shapes of its network and under the network's names.

    Args:
        network: the path's network; its own weights are not read.
        taken: the values of each group's choices.
    """
    values = {group.name: (group, variables) for group, variables in zip(groups, taken, strict=True)}
    state = {}
    for name, own in network.state_dict().items():
        part, *rest = name.split(".")
        if part == "blocks" and rest[1] != "skip":
            group, variables = values[rest[0].rpartition("-")[0]]
            kernel = [f"k{variables.kernel}"] if rest[1] == "depthwise" else []
            rest = [rest[0], "mbconv", group.weights_name(variables.splits), rest[1], *kernel, *rest[2:]]
        state[name] = cut(supernet_state[".".join([part, *rest])], own.shape)
    return state

"""The cost of a layer, from shapes alone, and the papers' rules of counting."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class LayerCost:
    """The cost of a layer for one image.

    Attributes:
        macs: multiply-adds, as `torch.utils.flop_counter` counts them.
        params: trainable parameters, batch norm's scale and shift included.
        norm_params: the part of `params` that belongs to batch norm.
        activations: output elements of activation functions.
        bias_adds: elements that a linear layer's bias is added to.
        dense_macs, dense_params: the additional cost of grouped 1x1 convolutions if they were dense.
    """

    macs: int
    params: int
    norm_params: int = 0
    activations: int = 0
    bias_adds: int = 0
    dense_macs: int = 0
    dense_params: int = 0

    def __add__(self, other: LayerCost) -> LayerCost:
        return LayerCost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


FREE = LayerCost(0, 0)


@dataclass(frozen=True)
class CountingRules:
    """How a paper counts. The default counts like `torch.utils.flop_counter` and `numel`.

    Attributes:
        activations: whether each output element of an activation function costs a multiply-add.
        norms: whether batch norm's scale and shift are parameters.
        biases: whether the addition of a linear layer's bias is a multiply-add.
        dense: whether grouped 1x1 convolutions count as dense.
    """

    activations: bool = False
    norms: bool = True
    biases: bool = False
    dense: bool = False

    def macs(self, cost: LayerCost) -> int:
        return (
            cost.macs
            + self.activations * cost.activations
            + self.biases * cost.bias_adds
            + self.dense * cost.dense_macs
        )

    def params(self, cost: LayerCost) -> int:
        return cost.params - (not self.norms) * cost.norm_params + self.dense * cost.dense_params


PLAIN = CountingRules()


def conv_bn_cost(
    in_channels: int, out_channels: int, kernel: int, out_size: int, groups: int = 1, activation: bool = False
) -> LayerCost:
    """Return the cost of a convolution without bias, its batch norm and its activation.

    Batch norm has no multiply-adds in `flop_counter`.
    """
    weights = out_channels * (in_channels // groups) * kernel**2
    norm = 2 * out_channels
    return LayerCost(
        weights * out_size**2, weights + norm, norm_params=norm, activations=activation * out_channels * out_size**2
    )


def pointwise_cost(
    in_channels: int, out_channels: int, out_size: int, groups: int = 1, activation: bool = False
) -> LayerCost:
    """Return the cost of a grouped 1x1 convolution, and the additional cost if it were dense."""
    grouped = conv_bn_cost(in_channels, out_channels, 1, out_size, groups, activation)
    missing = out_channels * (in_channels - in_channels // groups)
    return replace(grouped, dense_macs=missing * out_size**2, dense_params=missing)


def squeeze_cost(channels: int, squeezed: int) -> LayerCost:
    """Return the cost of squeeze-and-excitation: two 1x1 convolutions with bias on pooled channels, two activations."""
    weights, biases = 2 * channels * squeezed, channels + squeezed
    return LayerCost(weights, weights + biases, activations=biases)


def linear_cost(in_features: int, out_features: int) -> LayerCost:
    """Return the cost of a linear layer with bias. The addition of the bias is no multiply-add."""
    return LayerCost(in_features * out_features, (in_features + 1) * out_features, bias_adds=out_features)

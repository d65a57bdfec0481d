"""Split attention (ResNeSt), as FP-NAS puts it into an inverted bottleneck (FP-NAS figure 2).

The depthwise convolution gives every channel in several splits; attention, from the average of their sum over all
pixels, weighs a channel's splits against each other and adds them up. Splits so multiply the depthwise convolution
alone. Of one split it is squeeze-and-excitation.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.elastic.layers import ElasticConv


def squeezed(channels: int) -> int:
    """The channels between attention's two layers: a quarter of those that it weighs."""
    return max(1, channels // 4)


def attention_cost(channels: Tensor, splits: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply-adds and parameters of the two layers, which have biases; int64, of the arguments' common shape.

    `flop_counter` counts no multiply-add where channels are multiplied by their weights.
    """
    narrow = torch.clamp(channels // 4, min=1)
    weights = channels * narrow * (1 + splits)
    return weights, weights + narrow + channels * splits


class SplitAttention(nn.Module):
    """Features (N, channels * splits, H, W), a channel's splits side by side, to (N, channels, H, W).

    The squeeze is a quarter of the channels, with ReLU; the weights come from a softmax over the splits, or from a
    sigmoid where there is one. Features of fewer channels run through the first slices of its layers.
    """

    def __init__(self, channels: int, splits: int) -> None:
        super().__init__()
        self.splits = splits
        self.squeeze = ElasticConv(channels, squeezed(channels), 1)
        self.excite = ElasticConv(squeezed(channels), channels * splits, 1)

    def forward(self, features: Tensor, squeezed_mask: Tensor | None = None) -> Tensor:
        """`squeezed_mask`, of shape (squeezed channels,), multiplies what lies between the two layers."""
        images, wide, height, breadth = features.shape
        channels = wide // self.splits
        pooled = features.mean(dim=(2, 3)).view(images, channels, self.splits).sum(dim=2)
        narrow = F.relu(self.squeeze(pooled[:, :, None, None], squeezed(channels)))
        if squeezed_mask is not None:
            narrow = narrow * squeezed_mask[:, None, None]
        scores = cast(Tensor, self.excite(narrow, wide))
        if self.splits == 1:
            return features * scores.sigmoid()
        weights = scores.view(images, channels, self.splits, 1, 1).softmax(dim=2)
        return (features.view(images, channels, self.splits, height, breadth) * weights).sum(dim=2)

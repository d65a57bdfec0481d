"""Split attention (ResNeSt), in an inverted bottleneck as in FP-NAS (FP-NAS figure 2).

The depthwise convolution gives every channel in several splits. Attention computes weights from the sum of the splits,
averaged over all pixels, and adds up each channel's splits with these weights. Splits thus only multiply the cost of
the depthwise convolution. With one split it is squeeze-and-excitation.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.elastic.layers import ElasticConv


def squeezed_channels(channels: int) -> int:
    """Return the channels between the two layers of attention: a quarter of its input channels."""
    return max(1, channels // 4)


class SplitAttention(nn.Module):
    """Features (N, channels * splits, H, W), a channel's splits adjacent, to (N, channels, H, W).

    The squeeze has a quarter of the channels, with ReLU. The weights are a softmax over the splits, or a sigmoid for
    one split. Features of fewer channels use the first slices of its layers.
    """

    def __init__(self, channels: int, splits: int) -> None:
        super().__init__()
        self.splits = splits
        self.squeeze = ElasticConv(channels, squeezed_channels(channels), 1)
        self.excite = ElasticConv(squeezed_channels(channels), channels * splits, 1)

    def forward(self, features: Tensor, squeezed_mask: Tensor | None = None) -> Tensor:
        """Weigh and add the splits.

        Args:
            squeezed_mask: shape (squeezed channels,); multiplies the features between the two layers.
        """
        images, wide, height, breadth = features.shape
        channels = wide // self.splits
        pooled = features.mean(dim=(2, 3)).view(images, channels, self.splits).sum(dim=2)
        narrow = F.relu(self.squeeze(pooled[:, :, None, None], squeezed_channels(channels)))
        if squeezed_mask is not None:
            narrow = narrow * squeezed_mask[:, None, None]
        scores = cast(Tensor, self.excite(narrow, wide))
        if self.splits == 1:
            return features * scores.sigmoid()
        weights = scores.view(images, channels, self.splits, 1, 1).softmax(dim=2)
        return (features.view(images, channels, self.splits, height, breadth) * weights).sum(dim=2)

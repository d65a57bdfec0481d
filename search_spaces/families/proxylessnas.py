"""PAD-NAS's two search spaces over ProxylessNAS's network (PAD-NAS tables 1 and 2).

    | input          | block            | channels: basic (large) | repeat | stride |
    | -------------- | ---------------- | ----------------------- | ------ | ------ |
    | 224 x 224 x 3  | 3x3 conv         | 32 (16)                 | 1      | 2      |
    | 112 x 112      | MBConv, e1       | 16 (16)                 | 1      | 1      |
    | 112 x 112      | MBConv           | 32 (24)                 | 4      | 2      |
    | 56 x 56        | MBConv           | 40                      | 4      | 2      |
    | 28 x 28        | MBConv           | 80                      | 4      | 2      |
    | 14 x 14        | MBConv           | 96                      | 4      | 1      |
    | 14 x 14        | MBConv           | 192                     | 4      | 2      |
    | 7 x 7          | MBConv           | 320                     | 1      | 1      |
    | 7 x 7          | 1x1 conv         | 1280                    | 1      | 1      |
    | 7 x 7          | global pooling   | -                       | 1      | -      |
    | 1280           | fully connected  | 1000                    | 1      | -      |

A layer chooses kernel 3, 5 or 7, and expansion 3 or 6 (basic) or 1 to 6 (large). Layers after a stage's first can be
skipped. That gives 3 * 6^6 * 7^15 = 6.645e17 architectures (basic) and 3 * 18^6 * 19^15 = 1.549e27 (large).
"""

from collections.abc import Iterable

from search_spaces.chain.space import ChainFamily, Stage


def _stages(expansions: Iterable[int], second_channels: int) -> tuple[Stage, ...]:
    first = tuple(f"k{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in expansions)
    rest = (*first, "skip")
    return (
        Stage(channels=16, repeats=1, stride=1, first=("k3e1", "k5e1", "k7e1")),
        Stage(channels=second_channels, repeats=4, stride=2, first=first, rest=rest),
        Stage(channels=40, repeats=4, stride=2, first=first, rest=rest),
        Stage(channels=80, repeats=4, stride=2, first=first, rest=rest),
        Stage(channels=96, repeats=4, stride=1, first=first, rest=rest),
        Stage(channels=192, repeats=4, stride=2, first=first, rest=rest),
        Stage(channels=320, repeats=1, stride=1, first=first),
    )


proxylessnas = ChainFamily(
    name="proxylessnas",
    paper="PAD-NAS (Xia et al.), tables 1 and 2: the basic search space",
    stages=_stages((3, 6), second_channels=32),
    stem_channels=32,
    stem_stride=2,
    head_channels=1280,
    resolution=224,
    num_classes=1000,
)

proxylessnas_large = ChainFamily(
    name="proxylessnas-large",
    paper="PAD-NAS (Xia et al.), tables 1 and 2: the large search space",
    stages=_stages(range(1, 7), second_channels=24),
    stem_channels=16,
    stem_stride=2,
    head_channels=1280,
    resolution=224,
    num_classes=1000,
)

"""MnasNet's space, as HourNAS searches it (HourNAS tables 12 and 13).

    | layer      | input          | block            | channels | repeat | stride |
    | ---------- | -------------- | ---------------- | -------- | ------ | ------ |
    | conv       | 224 x 224 x 3  | 3x3 conv         | 32       | 1      | 2      |
    | layer1     | 112 x 112      | SepConv 3x3      | 16       | 1      | 1      |
    | layer2     | 112 x 112      | searched         | 24       | 4      | 2      |
    | layer3     | 56 x 56        | searched         | 40       | 4      | 2      |
    | layer4     | 28 x 28        | searched         | 80       | 4      | 2      |
    | layer5     | 14 x 14        | searched         | 112      | 4      | 1      |
    | layer6     | 14 x 14        | searched         | 160      | 4      | 2      |
    | layer7     | 7 x 7          | searched         | 320      | 1      | 1      |
    |            | 7 x 7          | 1x1 conv         | 1280     | 1      | 1      |
    |            | 7 x 7          | global pooling   | -        | 1      | -      |
    |            | 1280           | fully connected  | 1000     | 1      | -      |

The first block is fixed, a choice of one option. The others choose among the 13 rows of table 12, skip included:
13^21 = 2.471e23 architectures. The tables do not print the head's 1280 channels, which are MnasNet's. Blocks of
expansion 1 keep their 1x1 expand convolution, as in `fbnet`. HourNAS-E's printed parameters do not include batch norm.
"""

from search_spaces.chain.space import ChainFamily, Stage
from search_spaces.layers.cost import CountingRules

_BLOCKS = tuple(f"k{kernel}e{expansion}" for kernel in (3, 5) for expansion in (1, 3, 6))
_OPTIONS = (*_BLOCKS, *(f"{block}se" for block in _BLOCKS), "skip")

mnasnet = ChainFamily(
    name="mnasnet",
    paper="HourNAS (Yang et al.), tables 12 and 13: the search space of MnasNet",
    stages=(
        Stage(channels=16, repeats=1, stride=1, first=("sep3",)),
        Stage(channels=24, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=40, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=80, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=112, repeats=4, stride=1, first=_OPTIONS),
        Stage(channels=160, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=320, repeats=1, stride=1, first=_OPTIONS),
    ),
    stem_channels=32,
    stem_stride=2,
    head_channels=1280,
    resolution=224,
    num_classes=1000,
    activation="relu",
    keep_expand=True,
    counting=CountingRules(norms=False),
)

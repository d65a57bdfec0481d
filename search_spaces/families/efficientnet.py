"""EfficientNet's space, as HourNAS searches it (HourNAS tables 14 and 15).

    | layer      | input          | block            | channels | repeat | stride |
    | ---------- | -------------- | ---------------- | -------- | ------ | ------ |
    | conv       | 224 x 224 x 3  | 3x3 conv         | 32       | 1      | 2      |
    | layer1     | 112 x 112      | k3e1se           | 16       | 1      | 1      |
    | layer2     | 112 x 112      | searched         | 24       | 4      | 2      |
    | layer3     | 56 x 56        | searched         | 40       | 4      | 2      |
    | layer4     | 28 x 28        | searched         | 80       | 4      | 2      |
    | layer5     | 14 x 14        | searched         | 112      | 4      | 1      |
    | layer6     | 14 x 14        | searched         | 192      | 4      | 2      |
    | layer7     | 7 x 7          | searched         | 320      | 1      | 1      |
    |            | 7 x 7          | 1x1 conv         | 1280     | 1      | 1      |
    |            | 7 x 7          | global pooling   | -        | 1      | -      |
    |            | 1280           | fully connected  | 1000     | 1      | -      |

The first block is fixed, a choice of one option. The others choose among the 7 rows of table 14, skip included:
7^21 = 5.585e17 architectures. The tables do not print the head's 1280 channels, which are EfficientNet's. Activations
are SiLU, and squeezes have a quarter of the block's input channels. Blocks of expansion 1 keep their 1x1 expand
convolution: without it HourNAS-F would have 361 million multiply-adds, not the printed 383.
"""

from search_spaces.chain.space import ChainFamily, Stage

_OPTIONS = (*(f"k{kernel}e{expansion}se" for kernel in (3, 5) for expansion in (1, 3, 6)), "skip")

efficientnet = ChainFamily(
    name="efficientnet",
    paper="HourNAS (Yang et al.), tables 14 and 15: the search space of EfficientNet",
    stages=(
        Stage(channels=16, repeats=1, stride=1, first=("k3e1se",)),
        Stage(channels=24, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=40, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=80, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=112, repeats=4, stride=1, first=_OPTIONS),
        Stage(channels=192, repeats=4, stride=2, first=_OPTIONS),
        Stage(channels=320, repeats=1, stride=1, first=_OPTIONS),
    ),
    stem_channels=32,
    stem_stride=2,
    head_channels=1280,
    resolution=224,
    num_classes=1000,
    activation="silu",
    keep_expand=True,
)

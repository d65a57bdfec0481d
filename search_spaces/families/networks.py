"""Fixed networks as spaces of one architecture, for comparisons with searched networks and for analyses.

MobileNetV2 (HourNAS figure 2 and table 7), MnasNet-A1 (figure 2, table 13) and EfficientNet-Max (tables 3 and 15).
Table 7 prints k3e6 in layer1_1 of MobileNetV2, which would make 428 million multiply-adds; this file uses MobileNetV2's
own k3e1.

    | layer  | stride | MobileNetV2     | MnasNet-A1        | EfficientNet-Max |
    | ------ | ------ | --------------- | ----------------- | ---------------- |
    | conv   | 2      | 3x3 conv, 32    | 3x3 conv, 32      | 3x3 conv, 32     |
    | layer1 | 1      | k3e1, 16        | SepConv 3x3, 16   | k5e6se, 16       |
    | layer2 | 2      | 2 x k3e6, 24    | 2 x k3e6, 24      | 4 x k5e6se, 24   |
    | layer3 | 2      | 3 x k3e6, 32    | 3 x k5e3se, 40    | 4 x k5e6se, 40   |
    | layer4 | 2      | 4 x k3e6, 64    | 4 x k3e6, 80      | 4 x k5e6se, 80   |
    | layer5 | 1      | 3 x k3e6, 96    | 2 x k3e6se, 112   | 4 x k5e6se, 112  |
    | layer6 | 2      | 3 x k3e6, 160   | 3 x k5e6se, 160   | 4 x k5e6se, 192  |
    | layer7 | 1      | k3e6, 320       | k3e6, 320         | k5e6se, 320      |

Each has a 1x1 convolution to 1280 channels, global pooling and 1000 classes. EfficientNet-Max's multiply-adds agree
with the printed figure if every output element of an activation counts as one multiply-add, too.

ResNet-20 on CIFAR-10 (HourNAS figure 5). Its shortcuts are padded with zeros, so that no block is vital:

    | layer  | input       | block              | channels | repeat | stride |
    | ------ | ----------- | ------------------ | -------- | ------ | ------ |
    | conv   | 32 x 32 x 3 | 3x3 conv           | 16       | 1      | 1      |
    | block1 | 32 x 32     | two 3x3 convs      | 16       | 3      | 1      |
    | block2 | 32 x 32     | two 3x3 convs      | 32       | 3      | 2      |
    | block3 | 16 x 16     | two 3x3 convs      | 64       | 3      | 2      |
    |        | 8 x 8       | global pooling     | -        | 1      | -      |
    |        | 64          | fully connected    | 10       | 1      | -      |
"""

from search_spaces.chain.space import ChainFamily, Stage
from search_spaces.layers.cost import PLAIN, CountingRules

_MOBILE_STRIDES = (1, 2, 2, 2, 1, 2, 1)


def _mobile(
    name: str,
    paper: str,
    rows: tuple[tuple[int, int, str], ...],
    activation: str,
    counting: CountingRules = PLAIN,
) -> ChainFamily:
    """Return a network of seven rows: repeats, channels and block."""
    return ChainFamily(
        name=name,
        paper=paper,
        stages=tuple(
            Stage(channels=channels, repeats=repeats, stride=stride, first=(block,))
            for (repeats, channels, block), stride in zip(rows, _MOBILE_STRIDES, strict=True)
        ),
        stem_channels=32,
        stem_stride=2,
        head_channels=1280,
        resolution=224,
        num_classes=1000,
        activation=activation,
        counting=counting,
    )


mobilenetv2 = _mobile(
    "mobilenetv2",
    "MobileNetV2 (Sandler et al.), as in HourNAS table 7",
    (
        (1, 16, "k3e1"),
        (2, 24, "k3e6"),
        (3, 32, "k3e6"),
        (4, 64, "k3e6"),
        (3, 96, "k3e6"),
        (3, 160, "k3e6"),
        (1, 320, "k3e6"),
    ),
    activation="relu6",
)

mnasnet_a1 = _mobile(
    "mnasnet-a1",
    "MnasNet-A1 (Tan et al.), as in HourNAS table 13",
    (
        (1, 16, "sep3"),
        (2, 24, "k3e6"),
        (3, 40, "k5e3se"),
        (4, 80, "k3e6"),
        (2, 112, "k3e6se"),
        (3, 160, "k5e6se"),
        (1, 320, "k3e6"),
    ),
    activation="relu",
)

efficientnet_max = _mobile(
    "efficientnet-max",
    "HourNAS (Yang et al.), tables 3 and 15: the largest network on EfficientNet's backbone",
    tuple(zip((1, 4, 4, 4, 4, 4, 1), (16, 24, 40, 80, 112, 192, 320), 7 * ("k5e6se",), strict=True)),
    activation="silu",
    counting=CountingRules(activations=True),
)

resnet20 = ChainFamily(
    name="resnet20",
    paper="ResNet-20 (He et al.), as in HourNAS figure 5",
    stages=(
        Stage(channels=16, repeats=3, stride=1, first=("basic3",)),
        Stage(channels=32, repeats=3, stride=2, first=("basic3",)),
        Stage(channels=64, repeats=3, stride=2, first=("basic3",)),
    ),
    stem_channels=16,
    stem_stride=1,
    resolution=32,
    num_classes=10,
    activation="relu",
)

"""PAD-NAS's search space with MobileNetV3's ingredients, "where SE and swish are used" (PAD-NAS table 4).

    | input          | block            | channels | repeat | stride | squeeze-and-excite | activation |
    | -------------- | ---------------- | -------- | ------ | ------ | ------------------ | ---------- |
    | 224 x 224 x 3  | 3x3 conv         | 32       | 1      | 2      | -                  | h-swish    |
    | 112 x 112      | MBConv, e1       | 16       | 1      | 1      | no                 | ReLU       |
    | 112 x 112      | MBConv           | 32       | 4      | 2      | no                 | ReLU       |
    | 56 x 56        | MBConv           | 40       | 4      | 2      | yes                | ReLU       |
    | 28 x 28        | MBConv           | 80       | 4      | 2      | no                 | h-swish    |
    | 14 x 14        | MBConv           | 96       | 4      | 1      | yes                | h-swish    |
    | 14 x 14        | MBConv           | 192      | 4      | 2      | yes                | h-swish    |
    | 7 x 7          | MBConv           | 320      | 1      | 1      | yes                | h-swish    |
    | 7 x 7          | 1x1 conv         | 960      | 1      | 1      | -                  | h-swish    |
    | 7 x 7          | global pooling   | -        | 1      | -      | -                  | -          |
    | 960            | fully connected  | 1280     | 1      | -      | -                  | h-swish    |
    | 1280           | fully connected  | 1000     | 1      | -      | -                  | -          |

The paper gives no further details, so this space is an interpretation. Options and channels are those of its basic
search space (`proxylessnas`, also 6.645e17 architectures). Squeeze-and-excitation and h-swish stand in the stages where
MobileNetV3-Large has them; its 112 channels correspond to 96 here, its 160 to 192. MobileNetV3 has no stage like the
last, which is treated like the stage before. The head is MobileNetV3's. Squeezes have a quarter of the expanded
channels.
"""

from search_spaces.chain.space import ChainFamily, Stage


def _stage(channels: int, stride: int, *, se: bool, activation: str, repeats: int = 4) -> Stage:
    blocks = tuple(f"k{kernel}e{expansion}{'se' if se else ''}" for kernel in (3, 5, 7) for expansion in (3, 6))
    return Stage(
        channels=channels,
        repeats=repeats,
        stride=stride,
        first=blocks,
        rest=(*blocks, "skip"),
        activation=activation,
    )


mobilenetv3 = ChainFamily(
    name="mobilenetv3",
    paper="PAD-NAS (Xia et al.), table 4: the search space of MobileNetV3",
    stages=(
        Stage(channels=16, repeats=1, stride=1, first=("k3e1", "k5e1", "k7e1"), activation="relu"),
        _stage(32, stride=2, se=False, activation="relu"),
        _stage(40, stride=2, se=True, activation="relu"),
        _stage(80, stride=2, se=False, activation="hard_swish"),
        _stage(96, stride=1, se=True, activation="hard_swish"),
        _stage(192, stride=2, se=True, activation="hard_swish"),
        _stage(320, stride=1, se=True, activation="hard_swish", repeats=1),
    ),
    stem_channels=32,
    stem_stride=2,
    head_channels=960,
    linear_features=1280,
    resolution=224,
    num_classes=1000,
    activation="hard_swish",
    squeeze="expanded",
)

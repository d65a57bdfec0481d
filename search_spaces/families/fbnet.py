"""FBNet's space, as HourNAS searches it, and HourNAS's enlarged one over the same network (HourNAS tables 8 to 11).

    | layer      | input          | block            | channels | repeat | stride |
    | ---------- | -------------- | ---------------- | -------- | ------ | ------ |
    | conv       | 224 x 224 x 3  | 3x3 conv         | 16       | 1      | 2      |
    | layer1     | 112 x 112      | searched         | 16       | 1      | 1      |
    | layer2     | 112 x 112      | searched         | 24       | 4      | 2      |
    | layer3     | 56 x 56        | searched         | 32       | 4      | 2      |
    | layer4     | 28 x 28        | searched         | 64       | 4      | 2      |
    | layer5     | 14 x 14        | searched         | 112      | 4      | 1      |
    | layer6     | 14 x 14        | searched         | 184      | 4      | 2      |
    | layer7     | 7 x 7          | searched         | 352      | 1      | 1      |
    |            | 7 x 7          | 1x1 conv         | 1984     | 1      | 1      |
    |            | 7 x 7          | global pooling   | -        | 1      | -      |
    |            | 1984           | fully connected  | 1000     | 1      | -      |

The options are the rows of tables 8 and 10: 9^22 = 9.848e20 and 10^22 architectures. Every layer can be skipped; if
the shape changes, a strided 1x1 convolution with batch norm remains. Blocks of expansion 1 keep their 1x1 expand
convolution: only then do the costs agree with the printed figures. These count every output element of a ReLU as a
multiply-add, grouped 1x1 convolutions as dense, and no batch norm among the parameters.
"""

from search_spaces.chain.space import ChainFamily, Stage
from search_spaces.layers.cost import CountingRules


def _family(name: str, paper: str, options: tuple[str, ...]) -> ChainFamily:
    rows = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
    return ChainFamily(
        name=name,
        paper=paper,
        stages=tuple(
            Stage(channels=channels, repeats=repeats, stride=stride, first=options)
            for channels, repeats, stride in rows
        ),
        stem_channels=16,
        stem_stride=2,
        head_channels=1984,
        resolution=224,
        num_classes=1000,
        activation="relu",
        keep_expand=True,
        counting=CountingRules(activations=True, norms=False, dense=True),
    )


fbnet = _family(
    "fbnet",
    "HourNAS (Yang et al.), tables 8 and 9: the search space of FBNet",
    ("k3g2", "k3e1", "k3e3", "k3e6", "k5g2", "k5e1", "k5e3", "k5e6", "skip"),
)

fbnet_enlarged = _family(
    "fbnet-enlarged",
    "HourNAS (Yang et al.), tables 10 and 11: the enlarged search space on FBNet's backbone",
    (*(f"k{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in (1, 3, 6)), "skip"),
)

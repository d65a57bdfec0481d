"""The FBNetV2-F spaces of FP-NAS (FP-NAS tables 1 and 2): several choices a block.

    | input          | block            | expansion         | channels        | repeat | stride |
    | -------------- | ---------------- | ----------------- | --------------- | ------ | ------ |
    | 224 x 224 x 3  | 3x3 conv         | -                 | 16              | 1      | 2      |
    | 112 x 112      | MBConv           | 1                 | (12, 16, 4)     | 1      | 1      |
    | 112 x 112      | MBConv           | (0.75, 4.5, 0.75) | (16, 24, 4)     | 1      | 2      |
    | 56 x 56        | MBConv           | (0.75, 4.5, 0.75) | (16, 24, 4)     | 2      | 1      |
    | 56 x 56        | MBConv           | (0.75, 4.5, 0.75) | (16, 40, 8)     | 1      | 2      |
    | 28 x 28        | MBConv           | (0.75, 4.5, 0.75) | (16, 40, 8)     | 2      | 1      |
    | 28 x 28        | MBConv           | (0.75, 4.5, 0.75) | (48, 80, 8)     | 1      | 2      |
    | 14 x 14        | MBConv           | (0.75, 4.5, 0.75) | (48, 80, 8)     | 2      | 1      |
    | 14 x 14        | MBConv           | (0.75, 4.5, 0.75) | (72, 112, 8)    | 3      | 1      |
    | 14 x 14        | MBConv           | (0.75, 4.5, 0.75) | (112, 184, 8)   | 1      | 2      |
    | 7 x 7          | MBConv           | (0.75, 4.5, 0.75) | (112, 184, 8)   | 3      | 1      |
    | 7 x 7          | 1x1 conv         | -                 | 1984            | 1      | 1      |
    | 7 x 7          | global pooling   | -                 | -               | 1      | -      |
    | 1984           | fully connected  | -                 | 1000            | 1      | -      |

Ranges are (least, greatest, step). A block's hidden channels are its expansion times its own output channels. Each row
(`fbnetv2-f-fine`: each block) also chooses its kernel (0, 3 or 5; 0 skips the block), its activation (ReLU or swish)
and squeeze-and-excitation or none (`se0`, `se1`). In `fbnetv2-f++` it chooses split attention of 0, 1, 2 or 4 splits
(`s0` to `s4`). The paper also searches with images of 128, 160, 192 and 256 pixels (`resolution`).

The tables give 2.70e24 architectures, 5.84e42 if every block chooses, and 1024 times 2.70e24 with split attention. The
paper prints 6e25, 1e45 and "10^3 times larger". The first two do not follow from its tables in any way of counting. The
paper prints 122 M multiply-adds for the largest model at 128 pixels. The largest of `fbnetv2-f` has them if a squeeze
has a quarter of the hidden channels, and the first row has no expand convolution.
"""

from dataclasses import replace

from search_spaces.elastic.space import ElasticFamily, Row

SQUEEZE_EXCITE = ("se0", "se1")
SPLIT_ATTENTION = ("s0", "s1", "s2", "s4")

fbnetv2_f = ElasticFamily(
    name="fbnetv2-f",
    paper="FP-NAS (Yan et al.), tables 1 and 2: FBNetV2-F",
    rows=(
        Row(channels=(12, 16, 4), repeats=1, stride=1, expansion=(1, 1, 1)),
        Row(channels=(16, 24, 4), repeats=1, stride=2),
        Row(channels=(16, 24, 4), repeats=2, stride=1),
        Row(channels=(16, 40, 8), repeats=1, stride=2),
        Row(channels=(16, 40, 8), repeats=2, stride=1),
        Row(channels=(48, 80, 8), repeats=1, stride=2),
        Row(channels=(48, 80, 8), repeats=2, stride=1),
        Row(channels=(72, 112, 8), repeats=3, stride=1),
        Row(channels=(112, 184, 8), repeats=1, stride=2),
        Row(channels=(112, 184, 8), repeats=3, stride=1),
    ),
    attention=SQUEEZE_EXCITE,
    resolution=224,
)

fbnetv2_f_fine = replace(
    fbnetv2_f,
    name="fbnetv2-f-fine",
    paper="FP-NAS (Yan et al.), tables 1 and 2: FBNetV2-F-Fine",
    fine=True,
)

fbnetv2_f_plus = replace(
    fbnetv2_f,
    name="fbnetv2-f++",
    paper="FP-NAS (Yan et al.), tables 1 and 2: FBNetV2-F++",
    attention=SPLIT_ATTENTION,
)

"""FP-NAS's large spaces L0, L1 and L2 (FP-NAS table 3), with rows of our own.

The paper prints the images' size, the number of blocks, 2e32, 1e36 and 1e36 architectures and a median of 0.39, 0.9 and
1.1 G multiply-adds; its rows are in a supplement. Our rows agree with the printed figures: 27, 32 and 32 blocks,
10^32.30, 10^36.02 and 10^36.02 architectures, medians of 0.39, 0.91 and 1.07 G.

    | L0, 224 pixels          | L1, 240 pixels          | L2, 256 pixels          | repeat        | stride |
    | ----------------------- | ----------------------- | ----------------------- | ------------- | ------ |
    | 3x3 conv, 16            | 3x3 conv, 16            | 3x3 conv, 16            | 1             | 2      |
    | (16, 28, 4), e1         | (16, 32, 4), e1         | (16, 32, 4), e1         | 1             | 1      |
    | (24, 44, 4)             | (32, 56, 8)             | (32, 56, 8)             | 1 + 3         | 2      |
    | (40, 72, 8)             | (64, 88, 8)             | (64, 88, 8)             | 1 + 3, 1 + 4  | 2      |
    | (72, 128, 8)            | (104, 184, 8)           | (112, 192, 8)           | 1 + 4, 1 + 5  | 2      |
    | (120, 168, 16)          | (144, 240, 8)           | (160, 256, 8)           | 5, 1 + 5      | 1      |
    | (176, 272, 8)           | (240, 336, 8)           | (256, 352, 8)           | 1 + 5, 1 + 6  | 2      |
    | (208, 312, 8)           | (304, 440, 8)           | (320, 456, 8)           | 2, 3          | 1      |
    | 1x1 conv, 1984          | 1x1 conv, 1984          | 1x1 conv, 1984          | 1             | 1      |

`1 + 3` means two rows, the second of stride 1. If L0 differs, its repeats come first. Channels are (least, greatest,
step), expansions (0.75, 4.5, 0.75). Each row chooses as in `fbnetv2-f++` (FP-NAS table 2, second row).
"""

from search_spaces.elastic.space import ElasticFamily, Row
from search_spaces.families.fbnetv2 import SPLIT_ATTENTION

Channels = tuple[int, int, int]


def _first(channels: Channels) -> Row:
    return Row(channels=channels, repeats=1, stride=1, expansion=(1, 1, 1))


def _rows(channels: Channels, repeats: int, stride: int = 2) -> tuple[Row, Row]:
    """Return a row for the first block, and a row for the others, with separate choices."""
    return Row(channels=channels, repeats=1, stride=stride), Row(channels=channels, repeats=repeats, stride=1)


def _family(number: int, resolution: int, rows: tuple[Row, ...]) -> ElasticFamily:
    return ElasticFamily(
        name=f"fp-nas-l{number}",
        paper=f"FP-NAS (Yan et al.), table 3: FP-NAS-L{number}, with rows of our own that agree with it",
        rows=rows,
        attention=SPLIT_ATTENTION,
        resolution=resolution,
    )


fp_nas_l0 = _family(
    0,
    224,
    (
        _first((16, 28, 4)),
        *_rows((24, 44, 4), 3),
        *_rows((40, 72, 8), 3),
        *_rows((72, 128, 8), 4),
        Row(channels=(120, 168, 16), repeats=5, stride=1),
        *_rows((176, 272, 8), 5),
        Row(channels=(208, 312, 8), repeats=2, stride=1),
    ),
)

fp_nas_l1 = _family(
    1,
    240,
    (
        _first((16, 32, 4)),
        *_rows((32, 56, 8), 3),
        *_rows((64, 88, 8), 4),
        *_rows((104, 184, 8), 5),
        *_rows((144, 240, 8), 5, stride=1),
        *_rows((240, 336, 8), 6),
        Row(channels=(304, 440, 8), repeats=3, stride=1),
    ),
)

fp_nas_l2 = _family(
    2,
    256,
    (
        _first((16, 32, 4)),
        *_rows((32, 56, 8), 3),
        *_rows((64, 88, 8), 4),
        *_rows((112, 192, 8), 5),
        *_rows((160, 256, 8), 5, stride=1),
        *_rows((256, 352, 8), 6),
        Row(channels=(320, 456, 8), repeats=3, stride=1),
    ),
)

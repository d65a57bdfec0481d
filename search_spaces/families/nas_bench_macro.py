"""The space of NAS-Bench-Macro, whose 6,561 networks were all trained on CIFAR-10.

    | input        | block                   | channels | repeat | stride |
    | ------------ | ----------------------- | -------- | ------ | ------ |
    | 32 x 32 x 3  | 3x3 conv                | 32       | 1      | 1      |
    | 32 x 32      | skip, k3e3 or k5e6      | 64       | 2      | 2      |
    | 16 x 16      | skip, k3e3 or k5e6      | 128      | 3      | 2      |
    | 8 x 8        | skip, k3e3 or k5e6      | 256      | 3      | 2      |
    | 4 x 4        | 1x1 conv                | 1280     | 1      | 1      |
    | 4 x 4        | global pooling          | -        | 1      | -      |
    | 1280         | fully connected         | 10       | 1      | -      |

In a stage's first layer, skip is a strided 1x1 convolution with batch norm. Activations are ReLU. The indices of an
architecture's options, written in a row, are its key in the public table: `02012100`.
"""

from search_spaces.chain.space import ChainFamily, Stage

_OPTIONS = ("skip", "k3e3", "k5e6")

nas_bench_macro = ChainFamily(
    name="nas-bench-macro",
    paper="NAS-Bench-Macro (Su et al.)",
    stages=(
        Stage(channels=64, repeats=2, stride=2, first=_OPTIONS, rest=_OPTIONS),
        Stage(channels=128, repeats=3, stride=2, first=_OPTIONS, rest=_OPTIONS),
        Stage(channels=256, repeats=3, stride=2, first=_OPTIONS, rest=_OPTIONS),
    ),
    stem_channels=32,
    stem_stride=1,
    head_channels=1280,
    resolution=32,
    num_classes=10,
    activation="relu",
)

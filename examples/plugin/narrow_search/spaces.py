"""A space of narrow layers. A layer-by-layer space needs no more than a table of its stages."""

from search_spaces.chain.space import ChainFamily, Stage

BLOCKS = ("k3e1", "k3e3", "k5e3")

narrow = ChainFamily(
    name="narrow",
    paper="an example of a plug-in",
    stages=(
        Stage(channels=8, repeats=2, stride=1, first=BLOCKS, rest=(*BLOCKS, "skip")),
        Stage(channels=16, repeats=3, stride=2, first=BLOCKS, rest=(*BLOCKS, "skip")),
    ),
    stem_channels=8,
    stem_stride=1,
    head_channels=64,
    resolution=16,
    num_classes=10,
)

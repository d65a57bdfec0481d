"""One small run of each method. Without faults each takes well under a minute."""

from __future__ import annotations

RECIPES: dict[str, tuple[str | None, list[str]]] = {
    "pad-nas": (None, []),
    "hour-nas": (
        "hour-nas-digits",
        ["method.vital_epochs=3", "method.epochs=3", "method.proposals=2", "data.classes=4", "training.batch_size=16"],
    ),
    "fp-nas": (
        "fp-nas-digits",
        [
            "method.epochs=9",
            "method.warmup_epochs=2",
            "method.joint_from=5",
            "method.architecture_learning_rate=0.3",
            "method.sample_size={per_nat: 0.15}",
            "method.return_workers=true",
            "data.classes=4",
        ],
    ),
    "dmasking": ("dmasking-digits", ["method.epochs=6", "method.warmup_epochs=2", "data.classes=4"]),
    "hm-nas": (
        "hm-nas-digits",
        [
            "method.warmup_epochs=1",
            "method.mask_epochs=4",
            "method.max_mask_change=0.007",
            "space.channels=4",
            "space.operations=[skip_connect, sep_conv_3x3, max_pool_3x3]",
            "data.classes=4",
            "training.epochs=4",
            "fit.epochs=4",
            "scale.train.workers=1",
        ],
    ),
    "ftso": (
        "ftso-digits",
        [
            "method.topology_epochs=4",
            "space.cells=3",
            "space.channels=4",
            "space.resolution=8",
            "data.classes=4",
            "training.batch_size=16",
            "fit.epochs=4",
            "fit.auxiliary_weight=0.4",
            "fit.drop_path=0.3",
            "fit.clip_norm=1",
        ],
    ),
}
"""By method: a shipped recipe, or None for the recipe of the tests; and the changes to the recipe."""

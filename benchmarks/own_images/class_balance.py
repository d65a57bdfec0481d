"""Do class weights or the balanced sampler help small classes, and what do they cost?

    python -m benchmarks.own_images.class_balance [--data digits | FOLDER-OR-ARCHIVE] [--keep 0.05] [--epochs 20]
        [--seeds 0 1 2] [--out runs/class-balance]

One network is trained stand-alone on real images in three sets. In `unequal` the second half of the classes keeps a
share of its training images. Its control `equal` has about as many images, the same number of each class. Its control
`shuffled` is `unequal` with the labels of the training images in another order. All test images are used.

Prints for each set and setting: balanced accuracy; the mean accuracy of the small classes; and accuracy if test images
were as frequent as training images. All are in per cent, mean ± standard deviation over the seeds.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.arguments import add_seeds, command_parser
from benchmarks.common.report import print_heading, print_table, spread
from benchmarks.speed.in_process import InProcessStudy
from raynas.auto.choices import choose_batch_size
from raynas.data import DataSettings, Images, open_images, prepare
from raynas.recipe.recipe import Recipe
from raynas.recipe.settings import FitSettings
from raynas.reporting.terminal import Live
from raynas.results.class_accuracy import ClassAccuracy
from raynas.runtime.process import prepare_process
from raynas.storage.run_folder import RunFolder
from raynas.study.run import open_study
from raynas.study.run_plan import plan

NETWORK = "nas-bench-macro: k5e6 k3e3 | k3e3 k3e3 skip | k5e6 skip k3e3"
SETTINGS: dict[str, dict[str, str]] = {
    "neither": {},
    "class weights": {"class_weights": "balanced"},
    "sampler": {"sampler": "balanced"},
}
SETS = ("unequal", "equal", "shuffled")


def training_rows(images: Images, kind: str, keep: float, seed: int) -> NDArray[np.int64]:
    """Return the rows of the training images of a set, drawn by the seed."""
    generator = np.random.default_rng(seed)
    rows = images.rows("all-training")
    members = [generator.permutation(rows[images.labels[rows] == label]) for label in range(classes_of(images))]
    large = len(members) // 2
    sizes = [len(own) if label < large else max(2, round(keep * len(own))) for label, own in enumerate(members)]
    if kind == "equal":
        sizes = [sum(sizes) // len(sizes)] * len(sizes)
    return np.sort(np.concatenate([own[:size] for own, size in zip(members, sizes, strict=True)]))


def write_set(images: Images, kind: str, keep: float, seed: int, file: Path) -> None:
    """Write a set as an .npz file with all test images."""
    rows, test = training_rows(images, kind, keep, seed), images.rows("test")
    labels = images.labels[rows]
    if kind == "shuffled":
        labels = np.random.default_rng(seed).permutation(labels)
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = images.pixels
    np.savez(file, x_train=pixels[rows], y_train=labels, x_test=pixels[test], y_test=images.labels[test])


def classes_of(images: Images) -> int:
    return len(images.prepared.classes)


def train(options: Namespace, images: Images, kind: str, seed: int) -> Iterator[dict[str, Any]]:
    """Train the network on a set with each setting, in one run. Yields the figures of each training."""
    folder = options.out / f"{kind}-{seed}"
    file = folder.with_suffix(".npz")
    if not file.exists():
        write_set(images, kind, options.keep, seed, file)
    with np.load(file) as arrays:
        labels = arrays["y_train"]
    counts = np.bincount(labels, minlength=classes_of(images))
    batch = choose_batch_size(len(labels), 1)
    fit = {"epochs": options.epochs, "batch_size": batch, "learning_rate": 0.1 * min(1.0, batch / 64)}
    fit |= {"schedule": "cosine", "warmup_epochs": 1, "label_smoothing": 0.1, "ema": 0.99}
    space = {"name": "nas-bench-macro", "width": 0.25, "resolution": images.prepared.resolution}
    data = {"name": "npz", "path": str(file), "augment": images.prepared.settings.augment, "validation": 1}
    recipe = Recipe.read({"method": "fit", "space": space, "data": data, "fit": fit, "seed": seed})
    with open_study(plan(recipe), RunFolder(folder), Live()) as opened:
        study = InProcessStudy(opened.context)
        for name, changes in SETTINGS.items():
            settings = FitSettings(**{**recipe.fit.json_value(), **changes})
            step = name.replace(" ", "-")
            network = study.fit(step, study.space.parse(NETWORK), settings)
            accuracy = ClassAccuracy.of(study.data.classes, network.confusion)
            assert accuracy is not None
            yield {
                "set": kind,
                "setting": name,
                "seed": seed,
                "balanced": accuracy.balanced_top1,
                "small": float(accuracy.top1[len(counts) // 2 :].mean()),
                "as in training": float(counts @ accuracy.top1 / counts.sum()),
            }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("own_images.class_balance", __doc__)
    parser.add_argument("--data", default="digits", help="`digits`, or a folder or archive of images")
    parser.add_argument("--resolution", type=int, default=16, help="of the images (default: 16)")
    parser.add_argument("--augment", default="crop", help="as `data.augment` of a recipe (default: crop)")
    parser.add_argument("--keep", type=float, default=0.05, help="the share that small classes keep (default: 0.05)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each training (default: 20)")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--out", type=Path, default=Path("runs/class-balance"), help="folder of the run folders")
    add_seeds(parser, [0, 1, 2])
    options = parser.parse_args(arguments)
    data = {"name": "digits"} if options.data == "digits" else {"name": "folder", "path": options.data}
    settings = DataSettings.model_validate({**data, "augment": options.augment})
    images = open_images(prepare(settings, options.resolution, 0))
    prepare_process(1, False)
    rows = [row for kind in options.sets for seed in options.seeds for row in train(options, images, kind, seed)]
    table = pd.DataFrame(rows)
    print_heading("Classes of unequal size", " ".join(map(str, options.seeds)))
    counts = np.bincount(images.labels[training_rows(images, "unequal", options.keep, 0)])
    print(f"Training images of each class in `unequal`: {', '.join(map(str, counts))}.\n")
    figures = ["balanced", "small", "as in training"]
    columns = ("set", "setting", "balanced accuracy", "of small classes", "as frequent as in training")
    groups = table.groupby(["set", "setting"], sort=False)[figures]
    print_table(columns, [[*key, *(spread(group[figure], 1) for figure in figures)] for key, group in groups])


if __name__ == "__main__":
    main()

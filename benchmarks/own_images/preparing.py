"""How long do photos take until a run can begin, the first time and again?

    python -m benchmarks.own_images.preparing [--photos 10000] [--resolution 224] [--seed 0] [--out runs/preparing]

Draws photos of 500 x 375 pixels as JPEG files in ten class folders. Each row is a process of its own:

- `bare loop`: the same library on the same cores decodes each photo, cuts its middle square and resizes it into an
  array, and does nothing else. It is the least that decoding can take.
- `first time`: what a run does with photos that it has not seen. It finds and hashes the files, decodes them into the
  cache, splits them and measures their channels.
- `again`: the same with the same cache.
- `one photo changed`: again, after one photo was written anew.

Prints seconds, photos a second, the size on the disk and the peak of the memory of each row.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.common.arguments import add_seed, command_parser
from benchmarks.common.report import print_heading, print_table
from raynas.data import DataSettings, prepare
from raynas.data.decoding import middle_square

SIZE = (500, 375)
CLASSES = 10
SETTLE_SECONDS = 3
"""Photos that are younger may still change, so that their fingerprint would not be kept."""


class Measured(NamedTuple):
    """The seconds of a row, and the peak of its memory in bytes; files that are mapped into memory count."""

    seconds: float
    peak_bytes: int


def write_photos(folder: Path, count: int, seed: int) -> list[Path]:
    """Draw photos: soft colours, and fine grain like that of a camera. Return the files."""
    files = []
    for number in range(count):
        generator = np.random.default_rng([seed, number])
        soft = Image.fromarray(generator.integers(256, size=(6, 8, 3), dtype=np.uint8)).resize(
            SIZE, Image.Resampling.BICUBIC
        )
        grain = generator.normal(0, 8, size=(SIZE[1], SIZE[0], 1))
        pixels = np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8)
        file = folder / f"class-{number % CLASSES}" / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, quality=90)
        files.append(file)
    return files


def decode_barely(folder: Path, side: int) -> None:
    """Decode, cut and resize all photos of a folder into an array, with a thread for each core."""
    files = sorted(folder.rglob("*.jpg"))
    pixels = np.empty((len(files), side, side, 3), dtype=np.uint8)

    def decode(number: int) -> None:
        pixels[number] = np.asarray(middle_square(Image.open(files[number]).convert("RGB"), side))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode, range(len(files))))


def prepare_photos(folder: Path, cache: Path, resolution: int) -> None:
    """Prepare photos as a run does."""
    os.environ["RAYNAS_CACHE"] = str(cache)
    prepare(DataSettings(name="folder", path=folder), resolution, 0)


def measure(work: Callable[[], None]) -> Measured:
    """Time work in a process of its own, without the imports before it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_timed, work).result()


def _timed(work: Callable[[], None]) -> Measured:
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return Measured(seconds, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def size_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure_all(out: Path, count: int, resolution: int, seed: int) -> list[list[str]]:
    """Draw photos and measure all rows. Returns their cells."""
    photos, cache = out / "photos", out / "cache"
    shutil.rmtree(out, ignore_errors=True)
    files = write_photos(photos, count, seed)
    time.sleep(SETTLE_SECONDS)
    prepared = partial(prepare_photos, photos, cache, resolution)
    measured = {"bare loop": measure(partial(decode_barely, photos, resolution)), "first time": measure(prepared)}
    measured["again"] = measure(prepared)
    write_photos(photos, 1, seed + 1)
    measured["one photo changed"] = measure(prepared)
    bare = measured["bare loop"].seconds
    rows = []
    for name, (seconds, peak_bytes) in measured.items():
        rate = f"{count / seconds:,.0f}"
        rows.append([name, f"{seconds:.2f}", rate, f"{bare / seconds:.2f}", f"{peak_bytes / 2**30:.2f}"])
    on_disk = size_on_disk(cache)
    shutil.rmtree(out)
    print(f"{len(files):,} photos of {SIZE[0]} x {SIZE[1]} pixels at {resolution} x {resolution}, in a cache of")
    print(f"{on_disk / 2**30:.2f} GiB for both versions of the photos.\n")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("own_images.preparing", __doc__)
    parser.add_argument("--photos", type=int, default=10_000, help="number of photos (default: 10000)")
    parser.add_argument("--resolution", type=int, default=224, help="side of the decoded photos (default: 224)")
    parser.add_argument("--out", type=Path, default=Path("runs/preparing"), help="folder of photos and cache")
    add_seed(parser)
    options = parser.parse_args(arguments)
    print_heading("Photos until a run can begin", str(options.seed))
    rows = measure_all(options.out, options.photos, options.resolution, options.seed)
    print_table(("what is done", "seconds", "photos/s", "of the bare loop", "peak GiB"), rows)


if __name__ == "__main__":
    main()

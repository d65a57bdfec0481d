"""Every command and every piece of Python in the documentation, page by page, as a reader would try them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from tests.raynas.conftest import SMALL

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(sh|python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHRUNK = {
    "pad-nas-digits": "method.epochs=[1,1,1] search.population=8 search.generations=2",
    "hour-nas-digits": "method.vital_epochs=1 method.epochs=1",
    "fp-nas-digits": "method.epochs=3 method.warmup_epochs=1 method.joint_from=2 scale.train.workers=1",
    "hm-nas-digits": "training.epochs=2 method.warmup_epochs=1 method.mask_epochs=1 fit.epochs=1",
    "ftso-digits": "method.topology_steps=2 method.topology_epochs=1 fit.epochs=1",
}
"""A recipe that ships takes minutes whole (tests/faults and `make demo` run them so); here it is made small."""


def shrunk(command: str) -> str:
    read = re.match(r"raynas run (\S+)", command)
    if read is None or read[1] not in SHRUNK:
        return command
    changes = [*SHRUNK[read[1]].split(), "scale.evaluate.actors=1", "data.fraction=0.3"]
    return " ".join([command, *(f"--set {change}" for change in changes)])


def write_images(folder: Path) -> None:
    """The digits as JPEG files of 40x36 pixels, in folders as the tutorial shows them."""
    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(images))[:600]
    for number, (pixels, label) in enumerate(zip(images[chosen], labels[chosen], strict=True)):
        name = {0: "daisy", 1: "rose"}.get(int(label), f"flower-{label}")
        part = folder / ("val" if number % 5 == 0 else "train") / name
        part.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((pixels.reshape(8, 8) * (255 / 16)).astype(np.uint8))
        picture.resize((40, 36), Image.Resampling.BILINEAR).save(part / f"{number:03d}.jpg", quality=95)
    (folder / "val" / "daisy" / "101.jpg").write_bytes(next((folder / "val" / "daisy").glob("*.jpg")).read_bytes())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_works(page: str, tmp_path: Path, cluster: None) -> None:
    if page == "tutorial.md":
        write_images(tmp_path / "flowers")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(SMALL))
    bin_folder = Path(sys.executable).parent
    one_ray_for_all = ray.get_runtime_context().gcs_address
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "RAY_ADDRESS": one_ray_for_all}
    for language, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if language == "yaml":
            named = re.match(r"# (\S+)\n", text)
            assert named, f"{page} shows a YAML file without a name:\n{text}"
            (tmp_path / named[1]).write_text(text)
            continue
        command = [str(bin_folder / "python"), "-c", text]
        if language == "sh":
            command = ["bash", "-euc", "\n".join(shrunk(line) for line in text.splitlines())]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (DOCS / page).read_text(encoding="utf-8")):
        assert target.startswith("http") or ((DOCS / page).parent / target).exists(), target

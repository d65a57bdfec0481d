"""The public data in `../shared`, beside the checkout."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).parents[3] / "shared" / "data"

CIFAR10 = _DATA / "cifar10_subset12k.npz"
"""12,000 images of CIFAR-10: 1,000 training images and 200 test images of each class."""
NAS_BENCH_MACRO = _DATA / "nas-bench-macro_cifar10.json"
"""The accuracies of NAS-Bench-Macro's 6,561 architectures."""
NATS_BENCH = _DATA / "nasbench201_cifar10.csv"
"""The accuracies of NATS-Bench's 15,625 cells."""

"""Every architecture that HourNAS prints, as text of its space, with the printed figures.

Of the five papers only HourNAS prints architectures layer by layer. Table 9 abbreviates column I (`31` is k3e1, `53` is
k5e3), table 13 prints k3e3s3 for k3e3se, and table 7 prints k3e6 for MobileNetV2's k3e1 in layer1_1.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.architecture import Architecture
from search_spaces.errors import UserError, nearest
from search_spaces.loading import load
from search_spaces.space import SearchSpace


@dataclass(frozen=True)
class PublishedNetwork:
    """An architecture of a paper.

    Attributes:
        name: the argument of `published`, such as `hournas-a`.
        title: the paper's name for it, such as `HourNAS-A`.
        table: the table with its layers and figures.
        space: its space, with the paper's settings.
        params_m, macs_m: the printed figures, in millions.
    """

    name: str
    title: str
    table: str
    space: SearchSpace
    architecture: Architecture
    params_m: float
    macs_m: float


def published(name: str) -> PublishedNetwork:
    """Return the architecture that a paper prints under this name.

    Raises:
        UserError: if no published architecture has the name. It names the nearest.
    """
    if name not in _PRINTED:
        raise UserError(f"No published architecture is called {name!r}; {nearest(name, _PRINTED)}")
    title, table, params_m, macs_m, text = _PRINTED[name]
    space = load(text.partition(":")[0])
    return PublishedNetwork(name, title, table, space, space.parse(text), params_m, macs_m)


def published_text(name: str) -> str | None:
    """Return the text of the architecture that a paper prints under this name; None if no paper prints it."""
    return _PRINTED[name][-1] if name in _PRINTED else None


def published_names() -> list[str]:
    """Return all names that `published` accepts."""
    return list(_PRINTED)


_PRINTED = {
    "hournas-a": (
        *("HourNAS-A", "HourNAS table 9", 4.8, 298),
        "fbnet: k3e1 | k5e6 k5g2 skip k3g2 | k5e6 k3g2 k5g2 k5e1 | k5e6 k5e3 k3e1 k5e3 | k5e6 k3e3 k3e3 k3e3 | "
        "k5e6 k5e3 k5e3 k3e6 | k5e6",
    ),
    "hournas-b": (
        *("HourNAS-B", "HourNAS table 9", 5.5, 406),
        "fbnet: k3e3 | k5e6 k3e3 k5g2 skip | k5e6 k3e3 k3e3 k3e3 | k5e6 k5e6 k5e6 k3e6 | k5e6 k3e6 k3e6 k5e3 | "
        "k5e6 k3e6 k3e6 k5e6 | k5e6",
    ),
    "hournas-c": (
        *("HourNAS-C", "HourNAS table 11", 4.8, 296),
        "fbnet-enlarged: skip | k3e6 k3e3 skip k3e3 | k5e6 k3e3 k3e3 k3e3 | k5e6 k3e3 k5e3 k7e1 | "
        "k7e6 k5e3 k5e1 k5e1 | k7e6 k5e3 k3e3 k3e6 | k7e6",
    ),
    "hournas-d": (
        *("HourNAS-D", "HourNAS table 11", 5.5, 394),
        "fbnet-enlarged: k3e3 | k3e6 k5e1 k5e1 k5e3 | k5e6 k5e3 k3e6 k5e1 | k5e6 k3e6 k3e6 k3e6 | "
        "k7e6 k7e3 k5e3 k5e3 | k7e6 k7e6 k5e6 k7e6 | k7e6",
    ),
    "hournas-e": (
        *("HourNAS-E", "HourNAS table 13", 3.8, 313),
        "mnasnet: sep3 | k5e6 k3e3se k3e1se k3e3 | k5e6se k5e1 k3e1se k5e1 | k5e6se k3e3se k3e3 k3e3se | "
        "k5e6se k3e3se k3e3 k3e3 | k5e6se k3e6 k5e3se k5e3se | k5e6se",
    ),
    "hournas-f": (
        *("HourNAS-F", "HourNAS table 15", 5.3, 383),
        "efficientnet: k3e1se | k5e6se k5e1se k5e1se k3e1se | k5e6se k5e1se k3e1se k5e1se | "
        "k5e6se k3e6se k3e6se k3e6se | k5e6se k5e3se k5e3se k5e3se | k5e6se k5e6se k3e6se k5e6se | k5e6se",
    ),
    "hournas-g": (
        *("HourNAS-G", "HourNAS table 9", 4.7, 297),
        "fbnet: k3e3 | k5g2 k3g2 k3e3 k3e3 | k5e1 k3e1 k3e3 k3e3 | k5e3 k3e6 k3e3 k5e6 | k3e3 k3e3 k5e3 k5e3 | "
        "k3e6 k5e6 k3e6 k5e3 | k3e3",
    ),
    "hournas-h": (
        *("HourNAS-H", "HourNAS table 11", 4.8, 299),
        "fbnet-enlarged: k3e3 | k3e1 k3e3 k3e3 k5e1 | k5e3 k3e3 k3e3 k7e1 | k7e3 k7e3 k7e3 k7e3 | "
        "k7e3 k5e3 k5e3 k7e3 | k7e3 k3e6 k7e3 k7e3 | k7e6",
    ),
    "hournas-i": (
        *("HourNAS-I", "HourNAS table 9", 4.8, 318),
        "fbnet: k3e1 | k5e6 k5e1 k3e1 k3e1 | k5e6 k5e3 k5e3 k3e3 | k5e6 k5e3 k5e3 k5e6 | k5e6 k5e3 k3e1 k5e3 | "
        "k5e6 k3e3 k5e3 k5e6 | k5e6",
    ),
    "fbnet-max": (
        *("FBNet-Max", "HourNAS table 9", 5.7, 583),
        "fbnet: k5e6 | k5e6 k5e6 k5e6 k5e6 | k5e6 k5e6 k5e6 k5e6 | k5e6 k5e6 k5e6 k5e6 | k5e6 k5e6 k5e6 k5e6 | "
        "k5e6 k5e6 k5e6 k5e6 | k5e6",
    ),
    "efficientnet-max": (
        *("EfficientNet-Max", "HourNAS table 15", 5.8, 738),
        "efficientnet-max: k5e6se | k5e6se k5e6se k5e6se k5e6se | k5e6se k5e6se k5e6se k5e6se | "
        "k5e6se k5e6se k5e6se k5e6se | k5e6se k5e6se k5e6se k5e6se | k5e6se k5e6se k5e6se k5e6se | k5e6se",
    ),
    "mnasnet-a1": (
        *("MnasNet-A1", "HourNAS table 13", 3.9, 312),
        "mnasnet-a1: sep3 | k3e6 k3e6 | k5e3se k5e3se k5e3se | k3e6 k3e6 k3e6 k3e6 | k3e6se k3e6se | "
        "k5e6se k5e6se k5e6se | k3e6",
    ),
    "mobilenetv2": (
        *("MobileNetV2", "HourNAS table 7", 3.4, 300),
        "mobilenetv2: k3e1 | k3e6 k3e6 | k3e6 k3e6 k3e6 | k3e6 k3e6 k3e6 k3e6 | k3e6 k3e6 k3e6 | k3e6 k3e6 k3e6 | k3e6",
    ),
}
"""Title, table, printed parameters and multiply-adds in millions, layers."""

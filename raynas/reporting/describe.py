"""What the commands `raynas spaces` and `raynas describe` tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from raynas.reporting.terminal import print_table
from search_spaces import (
    Architecture,
    LatencyTable,
    PublishedNetwork,
    SearchSpace,
    load,
    names,
    published,
    published_names,
)
from search_spaces.cell.genotype import Genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, nearest
from search_spaces.families.uniform_splits import with_uniform_splits
from search_spaces.registry import is_space_file
from search_spaces.validation import read_yaml

_COSTS = ("macs", "params")


def space_rows() -> list[dict[str, Any]]:
    """One row for every installed space: plain JSON, the size as a decimal string, since it is exact."""
    return [_space_row(load(name)) for name in names()]


def _space_row(space: SearchSpace) -> dict[str, Any]:
    bounds = space.costs().bounds()
    ends = {f"{key}_{end}": int(bounds[key][i]) for key in _COSTS for i, end in enumerate(("min", "max"))}
    row = {"name": space.name, "choices": len(space.choices), "size": str(space.size()), **ends}
    return {**row, "resolution": space.resolution, "paper": space.paper}


def print_spaces(rows: list[dict[str, Any]]) -> None:
    columns = ["space", "choices", "size", "M multiply-adds", "M parameters", "pixels", "paper"]
    cells = [
        [
            row["name"],
            str(row["choices"]),
            _count(int(row["size"])),
            _range(row["macs_min"], row["macs_max"]),
            _range(row["params_min"], row["params_max"]),
            str(row["resolution"]),
            row["paper"],
        ]
        for row in rows
    ]
    print_table(columns, cells)


def described(
    what: str,
    text: str | None,
    resolution: int | None,
    latency: LatencyTable | None = None,
    splits: int | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> SpaceDescription | ArchitectureDescription:
    """What there is to say of a space or of an architecture.

    A space of a single architecture is described by it.

    Args:
        what: a space's name or file; an architecture's text; or a published architecture's name.
        text: of an architecture of that space; it may leave the space's name out.
        resolution: of the images; the space's own where none is given.
        latency: the table that its latency is summed from.
        splits: describe what it is with uniform split attention instead (FP-NAS table 7).
        settings: of the space, such as `cells`.

    Raises:
        UserError: if there is no such thing; it names the nearest. Or if the table lacks a block.
    """
    space, architecture = _found(what, text, settings)
    if architecture is None and space.size() == 1:
        architecture = space.architecture([values[0] for values in space.values()])
    pixels = space.resolution if resolution is None else resolution
    if splits is not None:
        if architecture is None:
            raise UserError("--splits is for an architecture: give its text, too.")
        space, architecture = with_uniform_splits(space, architecture, splits)
    if architecture is None:
        return SpaceDescription(space, pixels, latency)
    return ArchitectureDescription(space, architecture, pixels, latency, _printed(space, architecture, pixels))


def settings_of(changes: Sequence[str]) -> dict[str, Any]:
    """Settings of a space from `KEY=VALUE` each, in YAML; a key may begin with `space.`, as it does for `raynas fit`.

    Raises:
        UserError: if one is not of that form.
    """
    settings = {}
    for change in changes:
        key, equals, value = change.removeprefix("space.").partition("=")
        if not equals or not key:
            raise UserError(f"--set takes KEY=VALUE, such as width=0.5, not {change!r}.")
        if key == "name":
            raise UserError("--set takes settings of a space, not its name: give the other space in its place.")
        settings[key] = read_yaml(value, f"the value of {key}")
    return settings


def _found(what: str, text: str | None, settings: Mapping[str, Any]) -> tuple[SearchSpace, Architecture | None]:
    if text is not None:
        space = load(what, **settings)
        return space, _parsed(space, text if text.startswith(f"{space.name}:") else f"{space.name}: {text}")
    name, colon, _ = what.partition(":")
    if is_space_file(what):
        return load(what, **settings), None
    if colon:
        space = load(name.strip(), **settings)
        return space, _parsed(space, what)
    if name in published_names():
        if settings:
            raise UserError(f"{name} is published in its space's own settings: give its text to change them.")
        known = published(name)
        return known.space, known.architecture
    if name not in names():
        both = dict.fromkeys([*names(), *published_names()])
        raise UserError(f"No search space and no published architecture is called {name!r}; {nearest(name, both)}")
    return load(name, **settings), None


def _parsed(space: SearchSpace, text: str) -> Architecture:
    """The architecture of a text, or that of a genotype, whose operations have weights."""
    if "*" in text and isinstance(space, CellSpace):
        return Genotype.parse(space, text).architecture
    return space.parse(text)


def _printed(space: SearchSpace, architecture: Architecture, resolution: int) -> PublishedNetwork | None:
    """What a paper prints of this architecture at this resolution."""
    if resolution != space.resolution:
        return None
    found = (published(name) for name in published_names())
    return next((one for one in found if one.architecture == architecture), None)


@dataclass(frozen=True)
class SpaceDescription:
    """A space, its costs for images of `resolution` pixels."""

    space: SearchSpace
    resolution: int
    latency: LatencyTable | None

    def json_value(self) -> dict[str, Any]:
        """What an architecture's description holds, ranges in place of costs, and what only a space has."""
        space, bounds = self.space, self._bounds()
        ranges = {key: {"min": int(bounds[key][0]), "max": int(bounds[key][1])} for key in _COSTS}
        about = {"space": space.name, "architecture": None, "resolution": self.resolution, **ranges}
        latency = dict(zip(("min", "max"), bounds["latency_ms"], strict=True)) if self.latency else None
        return {
            **about,
            **{"latency_ms": latency, "printed": None, "counted": None},
            **{"size": str(space.size()), "paper": space.paper},
            "choices": {choice.name: list(choice.options) for choice in space.choices},
            "vital": [choice.name for choice in space.vital()],
        }

    def _bounds(self) -> dict[str, tuple[float, float]]:
        return self.space.costs(self.resolution, latency=self.latency).bounds()

    def print(self) -> None:
        space, vital, bounds = self.space, self.space.vital(), self._bounds()
        times = f", {bounds['latency_ms'][0]:.3f} - {bounds['latency_ms'][1]:.3f} ms" if self.latency else ""
        print(
            f"{space.name}: {_count(space.size())} architectures of {len(space.choices)} choices, "
            f"{self.resolution} pixels{space.paper and f'; {space.paper}'}"
        )
        print(f"{_range(*bounds['macs'])} M multiply-adds, {_range(*bounds['params'])} M parameters{times}")
        print_table(
            ["choice", "vital", "options"],
            [[one.name, _yes(one in vital), " ".join(one.options)] for one in space.choices],
        )


@dataclass(frozen=True)
class ArchitectureDescription:
    """An architecture, its costs for images of `resolution` pixels, and what a paper prints of it, if one does."""

    space: SearchSpace
    architecture: Architecture
    resolution: int
    latency: LatencyTable | None
    printed: PublishedNetwork | None

    def json_value(self) -> dict[str, Any]:
        printed = self.printed
        about = {"space": self.space.name, "architecture": str(self.architecture), "resolution": self.resolution}
        return {
            **about,
            **self._cost("macs"),
            "latency_ms": self._latency_ms(),
            "printed": None if printed is None else {"macs_m": printed.macs_m, "params_m": printed.params_m},
            "counted": None if printed is None else self._cost("paper"),
        }

    def _cost(self, counting: Any) -> dict[str, int]:
        costs = self.space.costs(self.resolution, counting=counting).cost([self.architecture])
        return {key: int(costs[key][0]) for key in _COSTS}

    def _latency_ms(self) -> float | None:
        if self.latency is None:
            return None
        alone = self.space.only(self.architecture)
        return alone.costs(self.resolution, latency=self.latency).cost([self.architecture])["latency_ms"].item()

    def print(self) -> None:
        told = self.json_value()
        time = "" if told["latency_ms"] is None else f", {told['latency_ms']:.3f} ms"
        print(f"{self.space.name}, {self.resolution} pixels: {_millions(told['macs'], told['params'])}{time}")
        if (printed := self.printed) is not None:
            counted = told["counted"]
            print(
                f"{printed.title} ({printed.table}): {printed.macs_m:g} M multiply-adds, {printed.params_m:g} M "
                f"parameters printed; counted as the paper counts, {_millions(counted['macs'], counted['params'])}"
            )
        vital = self.space.only(self.architecture).vital()
        print_table(
            ["choice", "vital", "block"],
            [
                [choice.name, _yes(choice in vital), choice.write(value)]
                for choice, value in zip(self.space.choices, self.architecture.indices, strict=True)
            ],
        )


def _count(number: int) -> str:
    return str(number) if number < 10**6 else f"{Decimal(number):.3g}"


def _millions(macs: int, params: int) -> str:
    return f"{macs / 1e6:.2f} M multiply-adds, {params / 1e6:.3f} M parameters"


def _range(low: float, high: float) -> str:
    return f"{low / 1e6:.2f} - {high / 1e6:.2f}"


def _yes(vital: bool) -> str:
    return "vital" if vital else ""

"""Descriptions of spaces and architectures, for `raynas spaces` and `raynas describe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from raynas.reporting.terminal import print_table
from raynas.reporting.units import COST_UNITS, format_costs, format_range
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
from search_spaces.cell.public_genotype import PublicGenotype, is_public_genotype
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, format_count, nearest
from search_spaces.families.darts import DartsSpace, settings_of_text
from search_spaces.families.uniform_splits import with_uniform_splits
from search_spaces.registry import is_space_file
from search_spaces.validation import read_yaml

_COSTS = ("macs", "params")


def space_rows() -> list[dict[str, Any]]:
    """Return one row for each installed space as plain JSON. The size is exact, so it is a decimal string."""
    return [_space_row(load(name)) for name in names()]


def _space_row(space: SearchSpace) -> dict[str, Any]:
    bounds = space.costs().bounds()
    ends = {f"{key}_{end}": int(bounds[key][i]) for key in _COSTS for i, end in enumerate(("min", "max"))}
    row = {"name": space.name, "choices": len(space.choices), "size": str(space.size()), **ends}
    return {**row, "resolution": space.resolution, "paper": space.paper}


def print_spaces(rows: list[dict[str, Any]]) -> None:
    """Print the rows of `space_rows` as a table, and the names of the published architectures."""
    columns = ["space", "choices", "size", *(COST_UNITS[key].name for key in _COSTS), "pixels", "paper"]
    cells = [
        [
            row["name"],
            str(row["choices"]),
            _format_count(int(row["size"])),
            *(format_range(key, row[f"{key}_min"], row[f"{key}_max"]) for key in _COSTS),
            str(row["resolution"]),
            row["paper"],
        ]
        for row in rows
    ]
    print_table(columns, cells)
    print(f"Published architectures, for describe and fit: {', '.join(published_names())}")


def describe(
    subject: str,
    text: str | None,
    resolution: int | None,
    latency: LatencyTable | None = None,
    splits: int | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> SpaceDescription | ArchitectureDescription:
    """Return the description of a space or of an architecture.

    A space with a single architecture is described by that architecture.

    Args:
        subject: the name or the file of a space; the text of an architecture; or the name of a published architecture.
        text: the text of an architecture, if `subject` is a space; the name of the space may be left out.
        resolution: of the images in pixels; by default the space's own.
        latency: the table that the latency is summed from.
        splits: describe the architecture with this number of splits in every block with attention (FP-NAS table 7).
        settings: of the space, such as `cells`.

    Raises:
        UserError: if there is no such space or architecture, or if the latency table lacks a block.
    """
    own = settings_of_text(subject) if text is None else settings_of_text(text, subject)
    settings = {**own, **settings}
    space, architecture = _find(subject, text, settings)
    if architecture is None and space.size() == 1:
        architecture = space.architecture([values[0] for values in space.values()])
    pixels = space.resolution if resolution is None else resolution
    if splits is not None:
        if architecture is None:
            raise UserError("--splits is for an architecture: also give its text.")
        space, architecture = with_uniform_splits(space, architecture, splits)
    if architecture is None:
        return SpaceDescription(space, pixels, latency)
    return ArchitectureDescription(space, architecture, pixels, latency, _find_published(space, architecture, pixels))


def parse_settings(changes: Sequence[str]) -> dict[str, Any]:
    """Return settings of a space from texts `KEY=VALUE`, whose values are YAML.

    A key may begin with `space.`, as in `raynas fit`.

    Raises:
        UserError: if a text has another form.
    """
    settings = {}
    for change in changes:
        key, equals, value = change.removeprefix("space.").partition("=")
        if not equals or not key:
            raise UserError(f"--set takes KEY=VALUE, such as width=0.5, not {change!r}.")
        if key == "name":
            raise UserError("--set changes settings of the space, not its name: give the other space as the argument.")
        settings[key] = read_yaml(value, f"the value of {key}")
    return settings


def _find(subject: str, text: str | None, settings: Mapping[str, Any]) -> tuple[SearchSpace, Architecture | None]:
    if text is not None:
        space = load(subject, **settings)
        return space, _parse(space, text if text.startswith(f"{space.name}:") else f"{space.name}: {text}")
    if is_public_genotype(subject) and ":" not in subject.partition("Genotype")[0]:
        raise UserError("Name the space of this Genotype: begin the text with 'darts:' or 'darts-imagenet:'.")
    name, colon, _ = subject.partition(":")
    if is_space_file(subject):
        return load(subject, **settings), None
    if colon:
        space = load(name.strip(), **settings)
        return space, _parse(space, subject)
    if name in published_names():
        if settings:
            raise UserError(f"{name} is published in the settings of its space: to change them, give its text.")
        network = published(name)
        return network.space, network.architecture
    if name not in names():
        known = dict.fromkeys([*names(), *published_names()])
        raise UserError(f"No search space and no published architecture is called {name!r}; {nearest(name, known)}")
    return load(name, **settings), None


def _parse(space: SearchSpace, text: str) -> Architecture:
    """Return the architecture of a text, which may be a genotype: its operations have weights."""
    if "*" in text and isinstance(space, CellSpace):
        return Genotype.parse(space, text).architecture
    return space.parse(text)


def _find_published(space: SearchSpace, architecture: Architecture, resolution: int) -> PublishedNetwork | None:
    """Return the published network with this architecture and resolution."""
    if resolution != space.resolution:
        return None
    networks = (published(name) for name in published_names())
    return next((network for network in networks if network.architecture == architecture), None)


@dataclass(frozen=True)
class SpaceDescription:
    """A space, with its costs for images of `resolution` pixels."""

    space: SearchSpace
    resolution: int
    latency: LatencyTable | None

    def json_value(self) -> dict[str, Any]:
        """Return the keys of `ArchitectureDescription`, with ranges as costs, and those that only a space has."""
        space, bounds = self.space, self._bounds()
        ranges = {key: {"min": int(bounds[key][0]), "max": int(bounds[key][1])} for key in _COSTS}
        subject = {"space": space.name, "architecture": None, "resolution": self.resolution, **ranges}
        latency = dict(zip(("min", "max"), bounds["latency_ms"], strict=True)) if self.latency else None
        return {
            **subject,
            **{"latency_ms": latency, "printed": None, "counted": None},
            **{"size": str(space.size()), "paper": space.paper},
            "choices": {choice.name: list(choice.options) for choice in space.choices},
            "vital": [choice.name for choice in space.vital()],
        }

    def _bounds(self) -> dict[str, tuple[float, float]]:
        return self.space.costs(self.resolution, latency=self.latency).bounds()

    def print(self) -> None:
        space, vital, bounds = self.space, self.space.vital(), self._bounds()
        ranges = [f"{format_range(key, *bounds[key])} {COST_UNITS[key].name}" for key in _COSTS]
        if self.latency:
            low, high = bounds["latency_ms"]
            ranges.append(f"{low:.3f} - {high:.3f} {COST_UNITS['latency_ms'].name}")
        print(
            f"{space.name}: {_format_count(space.size())} {'architecture' if space.size() == 1 else 'architectures'} "
            f"with {format_count(len(space.choices), 'choice')}, "
            f"{self.resolution} pixels{space.paper and f'; {space.paper}'}"
        )
        print(", ".join(ranges))
        print_table(
            ["choice", "vital", "options"],
            [[choice.name, _vital_mark(choice in vital), " ".join(choice.options)] for choice in space.choices],
        )


@dataclass(frozen=True)
class ArchitectureDescription:
    """An architecture, with its costs for images of `resolution` pixels.

    Attributes:
        printed: the published network, whose figures a paper prints; None for other architectures.
    """

    space: SearchSpace
    architecture: Architecture
    resolution: int
    latency: LatencyTable | None
    printed: PublishedNetwork | None

    def json_value(self) -> dict[str, Any]:
        printed = self.printed
        subject = {"space": self.space.name, "architecture": str(self.architecture), "resolution": self.resolution}
        return {
            **subject,
            **self._cost("macs"),
            "latency_ms": self._latency_ms(),
            "printed": None if printed is None else {"macs_m": printed.macs_m, "params_m": printed.params_m},
            "counted": None if printed is None else self._cost("paper"),
            **({} if self._genotype is None else {"genotype": str(self._genotype)}),
        }

    @property
    def _genotype(self) -> PublicGenotype | None:
        """The published form of cells of DARTS's."""
        return self.space.public_genotype(self.architecture) if isinstance(self.space, DartsSpace) else None

    def _cost(self, counting: Any) -> dict[str, int]:
        costs = self.space.costs(self.resolution, counting=counting).cost([self.architecture])
        return {key: int(costs[key][0]) for key in _COSTS}

    def _latency_ms(self) -> float | None:
        if self.latency is None:
            return None
        fixed = self.space.only(self.architecture)
        return float(fixed.costs(self.resolution, latency=self.latency).cost([self.architecture])["latency_ms"][0])

    def print(self) -> None:
        values = self.json_value()
        print(f"{self.space.name}, {self.resolution} pixels: {format_costs(values)}")
        if (printed := self.printed) is not None:
            costs = f"{printed.macs_m:g} {COST_UNITS['macs'].name}, {printed.params_m:g} {COST_UNITS['params'].name}"
            counted = format_costs(values["counted"])
            print(f"{printed.title} ({printed.table}): {costs} printed; counted as the paper counts, {counted}")
        if self._genotype is not None:
            print(self._genotype)
        vital = self.space.only(self.architecture).vital()
        print_table(
            ["choice", "vital", "block"],
            [
                [choice.name, _vital_mark(choice in vital), choice.write(value)]
                for choice, value in zip(self.space.choices, self.architecture.indices, strict=True)
            ],
        )


def _format_count(number: int) -> str:
    return str(number) if number < 10**6 else f"{Decimal(number):.3g}"


def _vital_mark(is_vital: bool) -> str:
    return "vital" if is_vital else ""

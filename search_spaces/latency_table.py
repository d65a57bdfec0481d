"""Latency from a table of measured blocks: an architecture's is the sum of its blocks' (PAD-NAS section 3.2)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError

from search_spaces.errors import UserError, nearest
from search_spaces.validation import describe_fault, read_yaml

if TYPE_CHECKING:
    from torch import nn


class LatencyKey(NamedTuple):
    """The shape of a measured block, which decides its latency. One table serves every space with such blocks.

    The key does not contain a family's activation nor a squeeze's width: measure a new table for a space that differs
    in these.

    Attributes:
        op: the kind of block: `stem`, `mbconv`, `mbconv-expand` (expansion 1 that keeps its 1x1 expand convolution, as
            in HourNAS), `skip` (if it is a 1x1 convolution), `head` (a 1x1 convolution and the pooling after it),
            `classifier`, a cell's operation (`relu-conv`, `sep-conv-2x`, `max-pool-norm`), or a space's own name.
        size: the input's height and width in pixels; 1 for the classifier.
        expansion: hidden over input channels, to four decimals; 0 for a block without hidden channels.
        se: whether squeeze-and-excitation, or split attention, follows the depthwise convolution.
        groups: of the 1x1 convolutions.
        splits: of split attention; 1 is squeeze-and-excitation.
        activation: `swish` if a block chose it over ReLU (FP-NAS); empty for ReLU and for a family's activation.
    """

    op: str
    size: int
    in_channels: int
    out_channels: int
    kernel: int
    expansion: float
    stride: int
    se: bool = False
    groups: int = 1
    splits: int = 1
    activation: str = ""

    def __str__(self) -> str:
        return (
            f"{self.op}, input {self.size}x{self.size}, channels {self.in_channels} to {self.out_channels}, "
            f"kernel {self.kernel}, expansion {self.expansion:g}, stride {self.stride}"
            + (", se" if self.se else "")
            + (f", groups {self.groups}" if self.groups > 1 else "")
            + (f", splits {self.splits}" if self.splits > 1 else "")
            + (f", {self.activation}" if self.activation else "")
        )


class TimedBlock(NamedTuple):
    """A function that builds a block for measurement, and the shape of one input without the batch."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]


class LatencyTable:
    """Milliseconds of every measured block on one device, usually for one image at a time.

    The project's own form is a CSV file with a header, or a YAML list of mappings, with these names:

        op, size, in_channels, out_channels, kernel, expansion, stride, se, groups, splits, activation, latency_ms
        mbconv, 56, 24, 24, 5, 6, 1, false, 1, 1, , 14.131

    The names are those of `LatencyKey`. Missing or empty values mean kernel 1, expansion 0, stride 1, se false, groups
    1, splits 1, no activation. Rows with an op that no space uses are kept and ignored.
    """

    def __init__(self, entries_ms: Mapping[LatencyKey, float], origin: str) -> None:
        self.entries_ms = dict(entries_ms)
        self.origin = origin

    def latency_ms(self, key: LatencyKey) -> float:
        """Return the measured time.

        Raises:
            UserError: if the block was not measured. It names the block.
        """
        if key not in self.entries_ms:
            raise UserError(f"{self.origin} has no latency for {key}; add that row, or choose a space that it covers.")
        return self.entries_ms[key]

    def option_ms(self, key: LatencyKey | None, needed: bool) -> float:
        """Return the latency of an option: 0 without a key (nothing is computed), nan if neither measured nor needed.

        Raises:
            UserError: as `latency_ms`, if the option is needed.
        """
        if key is None:
            return 0.0
        return self.latency_ms(key) if needed else self.entries_ms.get(key, nan)

    def write(self, path: Path) -> None:
        """Write the table in the project's CSV form. An old file is replaced whole or, after an error, not at all."""
        aside = path.with_name(f".{path.name}.part")
        with aside.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow([*LatencyKey._fields, "latency_ms"])
            for key, latency_ms in self.entries_ms.items():
                rows.writerow([*key, latency_ms])
        aside.replace(path)

    @classmethod
    def read(cls, path: str | Path, table: str | None = None) -> Self:
        """Read a table from a file.

        The file has the project's CSV or YAML form, or it is a CSV file of several tables. The latter has the columns
        table, op (Conv, expanded_conv, Conv_1, Logits; others are ignored), in_h, in_c, out_h, out_c, expand (a ratio,
        or hidden channels), kernel, stride, se, mean_ms.

        Args:
            table: the table's name in a file of several tables.

        Raises:
            UserError: if the file cannot be read, a row is not understood, two rows have one key, or the file has no
                such `table`.
        """
        path = Path(path)
        try:
            rows = _rows(path)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            fault = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
            raise UserError(f"The latency table {path} cannot be read: {fault}.") from error
        origin = f"The latency table {path}"
        if rows and "mean_ms" in rows[0]:
            tables = sorted({str(row.get("table")) for row in rows})
            if table is None and len(tables) == 1:
                table = tables[0]
            if table not in tables:
                problem = "say which table is meant" if table is None else f"there is no table {table!r}"
                raise UserError(f"{origin}: {problem}; {nearest(table or '', tables)}")
            origin = f"{origin} ({table})"
            try:
                rows = [_own_form(row) for row in rows if row["table"] == table and row["op"] in _OPS]
            except (KeyError, ValueError) as error:
                raise UserError(f"{origin}: a column is missing or no number: {error}.") from error
            except ZeroDivisionError as error:
                raise UserError(f"{origin}: out_h of a Conv and in_c have to be greater than 0.") from error
        elif table is not None:
            raise UserError(f"{origin} is one table; it has no table {table!r} in it.")
        return cls(_entries(rows, origin), origin)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    op: Annotated[str, Field(min_length=1)]
    size: PositiveInt
    in_channels: PositiveInt
    out_channels: PositiveInt
    kernel: PositiveInt = 1
    expansion: Annotated[NonNegativeFloat, AfterValidator(partial(round, ndigits=4))] = 0
    stride: PositiveInt = 1
    se: bool = False
    groups: PositiveInt = 1
    splits: PositiveInt = 1
    activation: str = ""
    latency_ms: NonNegativeFloat


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the file's rows as mappings, without empty cells."""
    with path.open(encoding="utf-8", newline="") as file:
        read = (
            read_yaml(file.read(), f"the latency table {path}")
            if path.suffix in {".yaml", ".yml"}
            else list(csv.DictReader(file, skipinitialspace=True))
        )
    if not isinstance(read, list) or not read or not all(isinstance(row, dict) for row in read):
        raise UserError(f"The latency table {path} holds no rows; it would be a list of op, size, ..., latency_ms.")
    return [{name: value for name, value in row.items() if value not in ("", None)} for row in read]


def _entries(rows: Iterable[Mapping[Any, Any]], origin: str) -> dict[LatencyKey, float]:
    entries: dict[LatencyKey, float] = {}
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise UserError(f"{origin}, row {number} has more cells than the header has names.")
        try:
            entry = _Row.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{origin}, row {number}: {where}: {describe_fault(first)}.") from error
        key = LatencyKey(**entry.model_dump(exclude={"latency_ms"}))
        if key in entries:
            raise UserError(f"{origin}, row {number}: there already is a row for {key}; keep one of them.")
        entries[key] = entry.latency_ms
    return entries


_OPS = {"Conv": "stem", "expanded_conv": "mbconv", "Conv_1": "head", "Logits": "classifier"}


def _own_form(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of the form with several tables, in the project's own names."""
    op = _OPS[row["op"]]
    size, in_channels = int(row["in_h"]), int(row["in_c"])
    own: dict[str, Any] = {
        "op": op,
        "size": 1 if op == "classifier" else size,
        "in_channels": in_channels,
        "out_channels": row["out_c"],
        "latency_ms": row["mean_ms"],
    }
    if op == "stem":
        own |= {"kernel": 3, "stride": size // int(row["out_h"])}
    if op == "mbconv":
        expand = int(row["expand"])
        ratio = expand / in_channels if expand >= in_channels else expand
        own |= {"kernel": row["kernel"], "expansion": ratio, "stride": row["stride"], "se": row.get("se", False)}
    return own

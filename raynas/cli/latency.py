"""The commands `raynas latency measure` and `raynas latency check`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from raynas.latency.measurement import Agreement, Bench
    from raynas.storage.progress import Reporter
    from search_spaces import SearchSpace

app = typer.Typer(no_args_is_help=True, help="Measure what a space's blocks take on this machine.")

Space = Annotated[str, typer.Argument(help="A space, as `raynas describe` takes it.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or one of several GPUs: cuda:1.")]
Resolution = Annotated[int | None, typer.Option(help="Height and width of the images in pixels.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the space, e.g. width=0.5.")
]
Rounds = Annotated[int, typer.Option("--repeats", min=1, help="How often each is timed; the median counts.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads on the CPU.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images a call.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it runs.")]


@app.command()
def measure(
    space: Space,
    device: Device = "cpu",
    resolution: Resolution = None,
    settings: Settings = None,
    out: Annotated[
        str | None, typer.Option(help="The CSV file to write; SPACE-DEVICE.csv where none is given.")
    ] = None,
    repeats: Rounds = 100,
    threads: Threads = 1,
    batch_size: BatchSize = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time every distinct block of a space on this machine and write its latency table.

    For example: raynas latency measure fbnet --resolution 64 --out fbnet.csv
    """
    loaded, bench = _space(space, resolution, settings), _bench(device, threads, batch_size, repeats)
    import yaml

    from raynas.latency.measurement import measure as measured

    path = Path(out or f"{loaded.name}-{device.partition(':')[0]}.csv")
    if path.suffix != ".csv" or path.exists():
        wrong = "exists already" if path.exists() else "is no CSV file"
        raise UserError(f"{path} {wrong}; give --out the name of a new file that ends in .csv.")
    begun = time.perf_counter()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table, spread = measured(loaded.latency_blocks(), bench, _reporter(quiet or as_json))
        table.write(path)
        about = {"space": loaded.specification(), **bench.about(), "spread_percent": round(spread, 2)}
        path.with_suffix(".about.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The latency table {path} cannot be written: {error.strerror}.") from error
    seconds, rows = time.perf_counter() - begun, len(table.entries_ms)
    if as_json:
        told = {"table": str(path), "rows": rows, "device": bench.device_name, "seconds": round(seconds, 3)}
        print(json.dumps(told, ensure_ascii=False))
        return
    print(f"{rows} blocks on {bench.device_name}; between the rounds, times spread by {spread:.1f} %")
    print(path)


@app.command()
def check(
    space: Space,
    table: Annotated[str, typer.Argument(help="The latency table: a CSV or YAML file.")],
    name: Annotated[str | None, typer.Option("--table", help="Which table, where the file holds several.")] = None,
    architectures: Annotated[int, typer.Option(min=2, help="How many networks are drawn and timed.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing.")] = 0,
    device: Device = "cpu",
    resolution: Resolution = None,
    settings: Settings = None,
    repeats: Rounds = 10,
    threads: Threads = 1,
    batch_size: BatchSize = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a latency table's sums with the measured time of random networks.

    For example: raynas latency check fbnet fbnet.csv --resolution 64
    """
    loaded, bench = _space(space, resolution, settings), _bench(device, threads, batch_size, repeats)
    from dataclasses import asdict

    from raynas.latency.measurement import agreement
    from raynas.latency.measurement import check as checked
    from search_spaces import LatencyTable

    read = LatencyTable.read(table, name)
    networks = checked(loaded, read, architectures, seed, bench, _reporter(quiet or as_json))
    found = agreement([row["summed_ms"] for row in networks], [row["measured_ms"] for row in networks])
    if as_json:
        told = {"table": table, "device": bench.device_name, **asdict(found), "networks": networks}
        print(json.dumps(told, ensure_ascii=False))
        return
    print(f"{architectures} random networks of {loaded.name} on {bench.device_name}")
    for what in ("measured", "summed"):
        times = [row[f"{what}_ms"] for row in networks]
        print(f"{what} {min(times):.3f} - {max(times):.3f} ms")
    _print_agreement(found)


def _print_agreement(found: Agreement) -> None:
    correlations = {"Pearson": found.pearson, "Spearman": found.spearman, "Kendall": found.kendall}
    print(", ".join(f"{name} {'undefined' if r is None else f'{r:.3f}'}" for name, r in correlations.items()))
    print(f"bias: sums are {found.bias_ms:+.3f} ms ({found.bias_percent:+.1f} %) off the measurements on average")
    print(f"error: {found.mean_error_percent:.1f} % in the mean, {found.rms_error_ms:.3f} ms root mean square")
    print(
        f"error without the bias: {found.unbiased_mean_error_percent:.1f} % in the mean, "
        f"{found.unbiased_rms_error_ms:.3f} ms root mean square"
    )


def _space(name: str, resolution: int | None, settings: list[str] | None) -> SearchSpace:
    from raynas.reporting.describe import settings_of
    from search_spaces import load

    given = {} if resolution is None else {"resolution": resolution}
    return load(name, **given | settings_of(settings or []))


def _bench(device: str, threads: int, batch_size: int, rounds: int) -> Bench:
    from raynas.latency.measurement import Bench

    return Bench(device, threads, batch_size, rounds)


def _reporter(quiet: bool) -> Reporter:
    from raynas.storage.progress import reporter

    return reporter("quiet" if quiet else "live")

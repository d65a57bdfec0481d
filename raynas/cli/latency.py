"""The commands `raynas latency measure` and `raynas latency check`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raynas.cli.options import Json, Quiet, Resolution, SpaceSettings, TableName, open_reporter
from search_spaces.errors import UserError, format_count

if TYPE_CHECKING:
    from raynas.latency.measurement import Agreement
    from search_spaces import SearchSpace

app = typer.Typer(no_args_is_help=True, help="Measure the latency of a space's blocks on this machine.")

Space = Annotated[str, typer.Argument(help="The name of a space, or its file.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or one of several GPUs, e.g. cuda:1.")]
Repeats = Annotated[int, typer.Option(min=1, help="The number of timed rounds; the median counts.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads on the CPU.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in each call.")]


@app.command()
def measure(
    space: Space,
    device: Device = "cpu",
    resolution: Resolution = None,
    settings: SpaceSettings = None,
    out: Annotated[str | None, typer.Option(help="The CSV file to write; by default SPACE-DEVICE.csv.")] = None,
    repeats: Repeats = 100,
    threads: Threads = 1,
    batch_size: BatchSize = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time every distinct block of a space on this machine and write the latency table.

    For example: raynas latency measure fbnet --resolution 64 --out fbnet.csv
    """
    import yaml

    from raynas.latency.measurement import TimingSettings, measure_blocks
    from raynas.reporting.terminal import print_json

    loaded, timing = _load_space(space, resolution, settings), TimingSettings(device, threads, batch_size, repeats)
    file = Path(out or f"{loaded.name}-{device.partition(':')[0]}.csv")
    if file.suffix != ".csv" or file.exists():
        fault = "exists already" if file.exists() else "is no CSV file"
        raise UserError(f"{file} {fault}: give --out the name of a new file that ends in .csv.")
    start = time.perf_counter()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        table, spread = measure_blocks(loaded.latency_blocks(), timing, open_reporter(quiet or as_json))
        table.write(file)
        conditions = {"space": loaded.specification(), **timing.json_value(), "spread_percent": round(spread, 2)}
        file.with_suffix(".about.yaml").write_text(yaml.safe_dump(conditions, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The latency table {file} cannot be written: {error.strerror}.") from error
    seconds, blocks = time.perf_counter() - start, len(table.entries_ms)
    if as_json:
        result = {"table": str(file), "rows": blocks, "device": timing.device_name, "seconds": round(seconds, 3)}
        print_json(result)
        return
    spread_text = f"the times of one block differ by {spread:.1f} % between rounds"
    print(f"{format_count(blocks, 'block')} on {timing.device_name}; {spread_text}")
    print(file)


@app.command()
def check(
    space: Space,
    table: Annotated[str, typer.Argument(help="The latency table: a CSV or YAML file.")],
    name: TableName = None,
    architectures: Annotated[int, typer.Option(min=2, help="How many random networks are timed.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the random networks.")] = 0,
    device: Device = "cpu",
    resolution: Resolution = None,
    settings: SpaceSettings = None,
    repeats: Repeats = 10,
    threads: Threads = 1,
    batch_size: BatchSize = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the sums of a latency table with the measured times of random networks.

    For example: raynas latency check fbnet fbnet.csv --resolution 64
    """
    from dataclasses import asdict

    from raynas.latency.measurement import TimingSettings, compare_times, time_networks
    from raynas.reporting.terminal import print_json
    from search_spaces import LatencyTable

    loaded, timing = _load_space(space, resolution, settings), TimingSettings(device, threads, batch_size, repeats)
    latency_table = LatencyTable.read(table, name)
    networks = time_networks(loaded, latency_table, architectures, seed, timing, open_reporter(quiet or as_json))
    times = {key: [row[f"{key}_ms"] for row in networks] for key in ("measured", "summed")}
    agreement = compare_times(times["summed"], times["measured"])
    if as_json:
        print_json({"table": table, "device": timing.device_name, **asdict(agreement), "networks": networks})
        return
    print(f"{architectures} random networks of {loaded.name} on {timing.device_name}")
    for key, milliseconds in times.items():
        print(f"{key} {min(milliseconds):.3f} - {max(milliseconds):.3f} ms")
    _print_agreement(agreement)


def _print_agreement(agreement: Agreement) -> None:
    correlations = {"Pearson": agreement.pearson, "Spearman": agreement.spearman, "Kendall": agreement.kendall}
    print(", ".join(f"{name} {'undefined' if r is None else f'{r:.3f}'}" for name, r in correlations.items()))
    bias = f"{agreement.bias_ms:+.3f} ms ({agreement.bias_percent:+.1f} %)"
    print(f"bias: {bias}, the mean of summed minus measured time")
    print(f"error: {agreement.mean_error_percent:.1f} % in the mean, {agreement.rms_error_ms:.3f} ms root mean square")
    print(
        f"error without the bias: {agreement.unbiased_mean_error_percent:.1f} % in the mean, "
        f"{agreement.unbiased_rms_error_ms:.3f} ms root mean square"
    )


def _load_space(name: str, resolution: int | None, settings: list[str] | None) -> SearchSpace:
    from raynas.reporting.describe import parse_settings
    from search_spaces import load

    size = {} if resolution is None else {"resolution": resolution}
    return load(name, **size | parse_settings(settings or []))

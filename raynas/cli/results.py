"""The commands that read a run and train nothing: `raynas table`, `export`, `report`, `compare`, `watch` and `draw`."""

from __future__ import annotations

from typing import Annotated

import typer

from raynas.cli.options import Csv, FinishedRuns, Json, MaxLatencyMs, MaxMacs, MaxParams, Run
from raynas.cli.words import LIMITS, TRAINED, CommandWords

app = typer.Typer()


@app.command()
def table(run: Run, csv: Csv = False, as_json: Json = False) -> None:
    """Print the evaluation table of a run; the run need not be finished.

    For example: raynas table runs/demo --csv > evaluated.csv
    """
    from raynas.reporting.terminal import print_json
    from raynas.results.evaluation_table import COLUMNS, EvaluationTable
    from raynas.results.outcome import json_rows
    from raynas.storage.run_folder import RunFolder
    from raynas.storage.step_records import check_is_run

    folder = RunFolder(run)
    check_is_run(folder)
    rows = EvaluationTable(folder).read()
    if as_json:
        print_json(json_rows(rows))
    elif csv:
        print(rows.to_csv(index=False), end="")
    elif rows.empty:
        print("No architecture of this run has been evaluated yet.")
    else:
        own_columns = [column for column in rows.columns if column not in COLUMNS]
        columns = ["step", "trial", "iteration", "top1", "loss", "macs", "params", *own_columns, "architecture"]
        shown = rows[columns].convert_dtypes(convert_floating=False)  # counts with gaps stay counts
        print(shown.astype(object).where(shown.notna(), "").to_string(index=False, float_format="{:.3f}".format))


@app.command()
def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN-OR-ARCHITECTURE",
            help="A run folder, or the text of an architecture that a run in runs/ has trained stand-alone.",
        ),
    ],
    form: Annotated[str, typer.Option("--format", help="onnx, torch-export or safetensors.")] = "onnx",
    architecture: Annotated[
        str | None, typer.Option(help="An architecture of the run; without this option, its most accurate.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="The file; by default in the folder export/ of the run.")
    ] = None,
    preprocessing: Annotated[
        str, typer.Option(help="inside: an ONNX file that takes images of any size and gives probabilities.")
    ] = "outside",
    licence: Annotated[str | None, typer.Option(help="The licence of the file, for its card: 'CC BY 4.0'.")] = None,
    as_json: Json = False,
) -> None:
    """Write a trained network as a file that needs no raynas, and its model card.

    For example: raynas export runs/demo --format onnx --out digits.onnx
    """
    from raynas.networks.export import export as write_export
    from raynas.reporting.terminal import print_json

    card = write_export(source, architecture, form, out, preprocessing, licence)
    if as_json:
        print_json(card)
        return
    outputs = "probabilities" if preprocessing == "inside" else "logits"
    print(
        f"test top-1 {card['test_top1']:.2f} %, balanced accuracy {card['balanced_test_top1']:.2f} %; the {outputs} of "
        f"the file and of the network differ by at most {card['largest_difference']:.1g}"
    )
    if card["warning"]:
        print(f"warning: {TRAINED.say(card['warning'])}")
    print(card["card"])
    print(card["file"])


@app.command()
def report(
    runs: FinishedRuns,
    out: Annotated[
        str | None, typer.Option("--out", help="The page; by default report.html in the run folder.")
    ] = None,
    figures: Annotated[
        str | None, typer.Option("--figures", help="A folder for every figure, as a CSV file and a PNG picture.")
    ] = None,
) -> None:
    """Write one HTML page about finished runs. The page opens without a network connection.

    For example: raynas report runs/demo --out demo.html
    """
    from raynas.reporting.page import write_report

    print(write_report(runs, out, figures))


@app.command()
def compare(
    runs: FinishedRuns,
    max_macs: MaxMacs = None,
    max_params: MaxParams = None,
    max_latency_ms: MaxLatencyMs = None,
    csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Compare runs: the best network within the limits, hypervolume, and the cost of the search.

    For example: raynas compare runs/pad runs/spos --max-macs 3M
    """
    from raynas.reporting.compare import compare as compare_runs
    from raynas.reporting.compare import format_table, parse_limits
    from raynas.reporting.terminal import print_json, print_table
    from raynas.results.outcome import json_rows

    with CommandWords(LIMITS).errors():
        limits = parse_limits(macs=max_macs, params=max_params, latency_ms=max_latency_ms)
    table = compare_runs(runs, limits)
    if as_json:
        print_json(json_rows(table))
    elif csv:
        print(table.to_csv(index=False), end="")
    else:
        print_table(*format_table(table))


@app.command()
def watch(
    run: Run,
    as_json: Annotated[bool, typer.Option("--json", help="Print the progress once, as one JSON value.")] = False,
) -> None:
    """Watch a run from another terminal until it ends.

    For example: raynas watch runs/demo
    """
    from raynas.reporting.terminal import print_json
    from raynas.reporting.watch import read_status, watch_run

    if as_json:
        print_json(read_status(run))
    else:
        watch_run(run)


@app.command()
def draw(
    run: Annotated[str, typer.Argument(help="The folder of a finished run over a space of cells.")],
    out: Annotated[str, typer.Option("--out", help="The picture: a .png, .svg or .pdf file.")] = "cell.png",
) -> None:
    """Draw the cells of the best network: the operations on the edges, and the weights of the edges.

    For example: raynas draw runs/hm-nas --out cell.svg
    """
    from raynas.reporting.cells import draw_run

    print(draw_run(run, out))

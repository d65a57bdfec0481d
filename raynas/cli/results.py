"""The commands that look at a run's results, or make something of them: they train nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from raynas.reporting.terminal import print_json, print_table
from search_spaces.errors import UserError

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout and nothing else.")]
Runs = Annotated[list[str], typer.Argument(help="The folders of finished runs.")]


@app.command()
def draw(
    run: Annotated[str, typer.Argument(help="The folder of a finished run over cells.")],
    out: Annotated[str, typer.Option("--out", help="The picture: a .png, .svg or .pdf file.")] = "cell.png",
) -> None:
    """Draw the cells that a run has found: operations on the edges, and the edges' weights.

    For example: raynas draw runs/hm-nas --out cell.svg
    """
    from raynas.reporting.cells import draw_run

    print(draw_run(run, out))


@app.command()
def table(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: Json = False,
) -> None:
    """Print the evaluation table of a run, finished or not.

    For example: raynas table runs/demo --csv > evaluated.csv
    """
    from raynas.results.evaluation_table import COLUMNS, EvaluationTable
    from raynas.results.outcome import json_rows
    from raynas.storage.run_folder import RunFolder

    folder = RunFolder(run)
    if not folder.exists("recipe.yaml"):
        raise UserError(f"{folder.uri} is not the folder of a run: it has no recipe.yaml.")
    rows = EvaluationTable(folder).read()
    if as_json:
        print_json(json_rows(rows))
    elif csv:
        print(rows.to_csv(index=False), end="")
    else:
        own = [column for column in rows.columns if column not in COLUMNS]
        shown = ["step", "trial", "iteration", "top1", "loss", "macs", "params", *own, "architecture"]
        whole = rows[shown].convert_dtypes(convert_floating=False)  # counts with gaps stay counts
        print(whole.astype(object).where(whole.notna(), "").to_string(index=False, float_format="{:.3f}".format))


@app.command()
def export(
    what: Annotated[
        str, typer.Argument(help="A run folder, or the text of an architecture that a run in runs/ has trained alone.")
    ],
    form: Annotated[str, typer.Option("--format", help="onnx, torch-export or safetensors.")] = "onnx",
    architecture: Annotated[str | None, typer.Option(help="Another network of the run than its most accurate.")] = None,
    out: Annotated[str | None, typer.Option("--out", help="The file; by default in the run's folder export/.")] = None,
    as_json: Json = False,
) -> None:
    """Write a trained network as a file that needs no raynas, and its model card.

    For example: raynas export runs/demo --format onnx --out digits.onnx
    """
    from raynas.networks.export import export as write

    card = write(what, architecture, form, out)
    if as_json:
        print_json(card)
        return
    print(
        f"test top-1 {card['test_top1']:.2f} %; its logits differ from the network's by at most "
        f"{card['largest_difference']:.1g}"
    )
    print(card["card"])
    print(card["file"])


@app.command()
def report(
    runs: Runs,
    out: Annotated[
        str | None, typer.Option("--out", help="The page; by default report.html in the run's folder.")
    ] = None,
    figures: Annotated[
        str | None, typer.Option("--figures", help="A folder for every figure as a CSV file and a PNG picture.")
    ] = None,
) -> None:
    """Write one HTML page of runs, which opens without a network.

    For example: raynas report runs/demo --out demo.html
    """
    from raynas.reporting.page import report as write

    print(write(runs, out, figures))


@app.command()
def compare(
    runs: Runs,
    max_macs: Annotated[
        str | None, typer.Option(help="Only architectures of at most so many multiply-adds: 50M.")
    ] = None,
    max_params: Annotated[str | None, typer.Option(help="Likewise parameters.")] = None,
    max_latency_ms: Annotated[str | None, typer.Option(help="Likewise milliseconds.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: Json = False,
) -> None:
    """Put runs side by side: the best within a budget, hypervolume, what the search took.

    For example: raynas compare runs/pad runs/spos --max-macs 3M
    """
    from raynas.reporting.compare import compare as beside
    from raynas.reporting.compare import limits_of, readable
    from raynas.results.outcome import json_rows

    table = beside(runs, limits_of(macs=max_macs, params=max_params, latency_ms=max_latency_ms))
    if as_json:
        print_json(json_rows(table))
    elif csv:
        print(table.to_csv(index=False), end="")
    else:
        print_table(*readable(table))


@app.command()
def watch(
    run: Annotated[str, typer.Argument(help="The folder of a run.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print how far it has come as one JSON value, and end.")
    ] = False,
) -> None:
    """Watch a run from another terminal until it ends.

    For example: raynas watch runs/demo
    """
    from raynas.reporting.watch import status
    from raynas.reporting.watch import watch as follow

    if as_json:
        print_json(status(run))
    else:
        follow(run)

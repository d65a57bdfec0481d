"""`raynas report`: one HTML page about one run or several. It opens without a network connection."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from raynas.recipe.recipe import read_run_data, read_run_recipe
from raynas.reporting.class_figures import draw_classes
from raynas.reporting.compare import compare
from raynas.reporting.figures import Figure, draw_front, draw_run_figures, import_plotly
from raynas.reporting.lead import lead
from raynas.reporting.units import format_costs
from raynas.results.class_accuracy import accuracy_of_best
from raynas.results.fit_result import read_networks
from raynas.results.guessing import has_top5
from raynas.results.outcome import Outcome, load_all
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError, format_count

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MAX_ROWS = 40
"""The page shows at most this number of rows of a CSV file in the run folder."""
_NO_NETWORK = "no architecture within the budget"
RunFigures = tuple[Outcome, list[Figure]]


def write_report(runs: Sequence[str], out: str | Path | None = None, figure_folder: str | Path | None = None) -> Path:
    """Write the page about finished runs, and return its path.

    Args:
        out: the file; by default `report.html` in the folder of the first run.
        figure_folder: a folder for the numbers (CSV) and the picture (PNG) of each figure. The pictures need kaleido
            and a Chromium.

    Raises:
        UserError: if a folder holds no finished run, plotly is missing, or a file cannot be written.
    """
    import_plotly()
    outcomes = load_all(runs)
    if len({outcome.cost for outcome in outcomes}) > 1:
        raise UserError("These runs have fronts of different costs: write one report for each of them.")
    if out is None and not RunFolder(outcomes[0].run).is_local:
        raise UserError(f"{outcomes[0].run} is not on this machine: give the file of the page with --out.")
    front = draw_front(outcomes)
    run_figures = [(outcome, list(_draw_figures(outcome))) for outcome in outcomes]
    page = _page(outcomes, front, run_figures)
    file = Path(outcomes[0].run) / "report.html" if out is None else Path(out)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
        if figure_folder is not None:
            _write_figures(Path(figure_folder), front, run_figures)
    except OSError as error:
        raise UserError(f"{error.filename or file} cannot be written: {error.strerror or error}.") from error
    return file


def _draw_figures(outcome: Outcome) -> Iterator[Figure]:
    yield from draw_run_figures(outcome)
    if (accuracy := accuracy_of_best(outcome)) is not None:
        yield from draw_classes(accuracy)


def _page(outcomes: Sequence[Outcome], front: Figure, run_figures: Sequence[RunFigures]) -> str:
    from plotly.offline import get_plotlyjs

    title = ", ".join(dict.fromkeys(f"{outcome.method} on {outcome.space['name']}" for outcome in outcomes))
    parts = [f"<h1>{html.escape(title)}</h1>", _summary(outcomes), _figure(front, "front")]
    parts.append('<pre id="chosen" aria-live="polite">Click a point to see its architecture here.</pre>')
    if len(outcomes) > 1:
        parts += ["<h2>Comparison</h2>", _table(compare([outcome.run for outcome in outcomes]).round(3))]
    for number, (outcome, figures) in enumerate(run_figures):
        if len(outcomes) > 1:
            parts.append(f"<h1>{html.escape(outcome.run)}</h1>")
        parts += [_figure(figure, f"run{number}-{figure.name}") for figure in figures]
        parts += [_cells(outcome), *_method_tables(outcome), _standalone(outcome), _details(outcome)]
    page = (resources.files("raynas.reporting") / "page.html").read_text(encoding="utf-8")
    for key, value in (("title", html.escape(title)), ("plotly", get_plotlyjs()), ("body", "\n".join(parts))):
        page = page.replace(f"<!-- {key} -->", value, 1)
    return page


def _summary(outcomes: Sequence[Outcome]) -> str:
    items = []
    for outcome in outcomes:
        best = outcome.best
        seconds = sum(step["seconds"] for step in records(RunFolder(outcome.run)))
        accuracy = "test top-1" if outcome.is_tested else "one-shot top-1"
        network = f"best network {best['top1']:.2f} % {accuracy}, {format_costs(best)}" if best else _NO_NETWORK
        name, evaluations = outcome.run.rpartition("/")[2], len(outcome.table)
        line = (
            f"{outcome.method} in {name}: {network}; {format_count(evaluations, 'evaluation')}, {_format_time(seconds)}"
        )
        facts = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in lead(outcome))
        code = f"<code>{html.escape(best.get('architecture', ''))}</code>"
        items.append(f'<ul class="facts">{facts}</ul><p>{html.escape(line)}<br>{code}</p>')
    return "".join(items)


def _figure(figure: Figure, identity: str) -> str:
    import plotly.io as pio

    plot = pio.to_html(
        _style(figure.plot),
        include_plotlyjs=False,
        full_html=False,
        div_id=identity,
        config={"displaylogo": False, "responsive": True},
    )
    return f"<section><h2>{html.escape(figure.title)}</h2><p>{html.escape(figure.text)}</p>{plot}</section>"


def _style(plot: go.Figure) -> go.Figure:
    background = plot.layout.plot_bgcolor
    plot.update_layout(
        template="simple_white", plot_bgcolor=background, margin={"l": 60, "r": 20, "t": 40, "b": 60}, font={"size": 13}
    )
    plot.update_layout(legend={"orientation": "h", "yanchor": "bottom", "y": 1.1, "x": 0})
    if plot.layout.height is None:
        plot.update_layout(height=420)
    return plot


def _cells(outcome: Outcome) -> str:
    """Return a picture of the cells, if the space has cells."""
    from raynas.reporting.cells import draw_outcome

    if not isinstance(outcome.whole_space, CellSpace) or not outcome.best:
        return ""
    picture = io.StringIO()
    try:
        draw_outcome(outcome).savefig(picture, format="svg")
    except ImportError:
        return "<p>Drawing the cells needs matplotlib: pip install 'raynas[drawing]'.</p>"
    return f"<section><h2>The cells</h2>{picture.getvalue().partition('<svg')[2].join(['<svg', ''])}</section>"


def _method_tables(outcome: Outcome) -> list[str]:
    """Return the tables that the method wrote into the run folder."""
    folder = RunFolder(outcome.run)
    names = [name for name in folder.names() if name.endswith(".csv") and name != "front.csv"]
    parts = []
    for name in names:
        table = pd.read_csv(io.BytesIO(folder.read(name)))
        more = f"<p>The first {_MAX_ROWS} of {format_count(len(table), 'row')}.</p>" if len(table) > _MAX_ROWS else ""
        parts.append(f"<details><summary>{html.escape(name)}</summary>{more}{_table(table[:_MAX_ROWS])}</details>")
    return parts


def _standalone(outcome: Outcome) -> str:
    folder = RunFolder(outcome.run)
    networks = read_networks(folder)
    if not networks:
        return ""
    more = ["top5"] if has_top5(len(read_run_data(folder).classes)) else []
    columns = ["architecture", "top1", "balanced_top1", *more, "loss", "macs", "params", "weights"]
    return f"<h2>Stand-alone training</h2>{_table(pd.DataFrame(networks, columns=columns))}"


def _details(outcome: Outcome) -> str:
    """Return the steps, the recipe and the versions of a run."""
    folder = RunFolder(outcome.run)
    steps = pd.DataFrame(records(folder))[["name", "description", "state", "seconds", "worker_seconds", "gpu_seconds"]]
    versions = folder.read_json("versions.json")
    machine: dict[str, Any] = {**versions["packages"], "python": versions["python"], "cpu": versions["cpu"]}
    machine |= {"gpus": ", ".join(versions["gpus"]) or "none", "commit": versions.get("commit") or "not a checkout"}
    recipe = yaml.safe_dump(read_run_recipe(folder), sort_keys=False, allow_unicode=True)
    lines = "".join(f"<li>{html.escape(f'{key} {value}')}</li>" for key, value in machine.items())
    return (
        f"<details open><summary>Steps</summary>{_table(steps.round(1))}</details>"
        f"<details><summary>Recipe</summary><pre>{html.escape(recipe)}</pre></details>"
        f"<details><summary>Versions</summary><ul>{lines}</ul></details>"
    )


def _table(table: pd.DataFrame) -> str:
    rows: str = table.to_html(index=False, escape=True, na_rep="", border=0, float_format="{:,.4g}".format)
    return f'<div class="wide">{rows}</div>'


def _write_figures(folder: Path, front: Figure, run_figures: Sequence[RunFigures]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {front.name: front}
    for number, (_, figures) in enumerate(run_figures, start=1):
        prefix = f"run-{number}-" if len(run_figures) > 1 else ""
        by_name |= {f"{prefix}{figure.name}": figure for figure in figures}
    for name, figure in by_name.items():
        figure.table.to_csv(folder / f"{name}.csv", index=False)
    try:
        for name, figure in by_name.items():
            _style(figure.plot).write_image(folder / f"{name}.png", width=1000, scale=2)
    except (ValueError, ImportError, RuntimeError) as error:
        raise UserError(
            f"The CSV files are in {folder}. The pictures need kaleido and a Chromium or Chrome: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _format_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

"""`raynas report`: one HTML page of one run or of several, which opens without a network."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from raynas.recipe.recipe import read_run_recipe
from raynas.reporting.compare import compare
from raynas.reporting.figures import Figure, figures, front, graph_objects
from raynas.results.fit_result import read_networks
from raynas.results.outcome import Outcome, load
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import records
from search_spaces.cell.space import CellSpace
from search_spaces.errors import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_ROWS = 40
"""A table that a method leaves in its run folder is shown up to here; the file has the rest."""


def report(runs: Sequence[str], out: str | Path | None = None, figures_in: str | Path | None = None) -> Path:
    """Write the page of finished runs; returns its path, `report.html` in the first run's folder where none is given.

    Args:
        figures_in: a folder for each figure's numbers (CSV) and picture (PNG, which needs kaleido and a Chromium).

    Raises:
        UserError: if a folder holds no finished run, plotly is missing, or something cannot be written.
    """
    graph_objects()
    outcomes = [load(run) for run in runs]
    if len({one.cost for one in outcomes}) > 1:
        raise UserError("The fronts of these runs are of different costs: report on them one by one.")
    if out is None and not RunFolder(outcomes[0].run).is_local:
        raise UserError(f"{outcomes[0].run} is not on this machine: say where the page goes with --out.")
    shown = front(outcomes)
    drawn = [(one, list(figures(one))) for one in outcomes]
    page = _page(outcomes, shown, drawn)
    file = Path(outcomes[0].run) / "report.html" if out is None else Path(out)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
        if figures_in is not None:
            _write_figures(Path(figures_in), shown, drawn)
    except OSError as error:
        raise UserError(f"{error.filename or file} cannot be written: {error.strerror or error}.") from error
    return file


def _page(outcomes: Sequence[Outcome], shown: Figure, drawn: Sequence[tuple[Outcome, list[Figure]]]) -> str:
    from plotly.offline import get_plotlyjs

    title = ", ".join(dict.fromkeys(f"{one.method} on {one.space['name']}" for one in outcomes))
    parts = [f"<h1>{html.escape(title)}</h1>", _summary(outcomes), _figure(shown, "front")]
    parts.append('<pre id="chosen" aria-live="polite">Click a point: its architecture is shown here.</pre>')
    if len(outcomes) > 1:
        parts += ["<h2>Side by side</h2>", _table(compare([one.run for one in outcomes]).round(3))]
    for number, (outcome, its) in enumerate(drawn):
        if len(outcomes) > 1:
            parts.append(f"<h1>{html.escape(outcome.run)}</h1>")
        parts += [_figure(figure, f"run{number}-{figure.name}") for figure in its]
        parts += [_cells(outcome), *_tables(outcome), _standalone(outcome), _about(outcome)]
    page = (resources.files("raynas.reporting") / "page.html").read_text(encoding="utf-8")
    for key, value in (("title", html.escape(title)), ("plotly", get_plotlyjs()), ("body", "\n".join(parts))):
        page = page.replace(f"<!-- {key} -->", value, 1)
    return page


def _summary(outcomes: Sequence[Outcome]) -> str:
    items = []
    for one in outcomes:
        best, steps = one.best, records(RunFolder(one.run))
        seconds = sum(step["seconds"] for step in steps)
        accuracy = "test top-1" if one.is_tested else "one-shot top-1"
        found = (
            f"{best['top1']:.2f} % {accuracy}, {best['macs'] / 1e6:.3f} M multiply-adds, {best['params'] / 1e6:.3f} M "
            "parameters"
            if best
            else "nothing within the budget"
        )
        name = one.run.rpartition("/")[2]
        told = f"{one.method} in {name}: best {found}; {len(one.table):,} evaluations, {_time(seconds)}"
        items.append(f"<li>{html.escape(told)}<br><code>{html.escape(best.get('architecture', ''))}</code></li>")
    return f"<ul>{''.join(items)}</ul>"


def _figure(figure: Figure, identity: str) -> str:
    import plotly.io as pio

    drawing = _styled(figure.drawing)
    plot = pio.to_html(
        drawing,
        include_plotlyjs=False,
        full_html=False,
        div_id=identity,
        config={"displaylogo": False, "responsive": True},
    )
    return f"<section><h2>{html.escape(figure.title)}</h2><p>{html.escape(figure.text)}</p>{plot}</section>"


def _styled(drawing: go.Figure) -> go.Figure:
    background = drawing.layout.plot_bgcolor
    drawing.update_layout(
        template="simple_white", plot_bgcolor=background, margin={"l": 60, "r": 20, "t": 40, "b": 60}, font={"size": 13}
    )
    drawing.update_layout(legend={"orientation": "h", "yanchor": "bottom", "y": 1.1, "x": 0})
    if drawing.layout.height is None:
        drawing.update_layout(height=420)
    return drawing


def _cells(outcome: Outcome) -> str:
    """The cells that were found, drawn, where the space has cells and matplotlib is there to draw them."""
    from raynas.reporting.cells import figure_of

    if not isinstance(outcome.whole_space, CellSpace) or not outcome.best:
        return ""
    picture = io.StringIO()
    try:
        figure_of(outcome).savefig(picture, format="svg")
    except ImportError:
        return "<p>Drawing the cells needs matplotlib: pip install 'raynas[drawing]'.</p>"
    return f"<section><h2>The cells</h2>{picture.getvalue().partition('<svg')[2].join(['<svg', ''])}</section>"


def _tables(outcome: Outcome) -> list[str]:
    """The tables that the method has left in the run folder."""
    folder = RunFolder(outcome.run)
    names = [name for name in folder.names() if name.endswith(".csv") and name != "front.csv"]
    parts = []
    for name in names:
        table = pd.read_csv(io.BytesIO(folder.read(name)))
        more = f"<p>The first {_MOST_ROWS} of {len(table)} rows.</p>" if len(table) > _MOST_ROWS else ""
        parts.append(f"<details><summary>{html.escape(name)}</summary>{more}{_table(table[:_MOST_ROWS])}</details>")
    return parts


def _standalone(outcome: Outcome) -> str:
    networks = read_networks(RunFolder(outcome.run))
    if not networks:
        return ""
    columns = ["architecture", "top1", "top5", "loss", "macs", "params", "weights"]
    return f"<h2>Trained alone</h2>{_table(pd.DataFrame(networks)[columns])}"


def _about(outcome: Outcome) -> str:
    folder = RunFolder(outcome.run)
    steps = pd.DataFrame(records(folder))[["name", "description", "state", "seconds", "worker_seconds", "gpu_seconds"]]
    versions = folder.read_json("versions.json")
    machine: dict[str, Any] = {**versions["packages"], "python": versions["python"], "cpu": versions["cpu"]}
    machine |= {"gpus": ", ".join(versions["gpus"]) or "none", "commit": versions.get("commit") or "not a checkout"}
    recipe = yaml.safe_dump(read_run_recipe(folder), sort_keys=False, allow_unicode=True)
    listed = "".join(f"<li>{html.escape(f'{key} {value}')}</li>" for key, value in machine.items())
    return (
        f"<details open><summary>Steps</summary>{_table(steps.round(1))}</details>"
        f"<details><summary>Recipe</summary><pre>{html.escape(recipe)}</pre></details>"
        f"<details><summary>Versions</summary><ul>{listed}</ul></details>"
    )


def _table(table: pd.DataFrame) -> str:
    told: str = table.to_html(index=False, escape=True, na_rep="", border=0, float_format="{:,.4g}".format)
    return f'<div class="wide">{told}</div>'


def _write_figures(folder: Path, shown: Figure, drawn: Sequence[tuple[Outcome, list[Figure]]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    named = [(shown.name, shown)]
    for number, (_, its) in enumerate(drawn, start=1):
        before = f"run-{number}-" if len(drawn) > 1 else ""
        named += [(f"{before}{figure.name}", figure) for figure in its]
    for name, figure in named:
        figure.table.to_csv(folder / f"{name}.csv", index=False)
    try:
        for name, figure in named:
            _styled(figure.drawing).write_image(folder / f"{name}.png", width=1000, scale=2)
    except (ValueError, ImportError, RuntimeError) as error:
        raise UserError(
            f"The CSV files are in {folder}, but pictures need kaleido and a Chromium or Chrome: {_first(error)}"
        ) from error


def _first(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

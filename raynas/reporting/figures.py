"""The figures of a report, each with the table that it draws: of what a run's folder holds, whatever the method.

Everything that came from outside (architectures, names of classes, folders and recipes) is escaped here, as plotly
reads tags in its texts.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raynas.results.outcome import Outcome
from raynas.results.pareto import non_domination_ranks
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from search_spaces import from_specification
from search_spaces.errors import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search_spaces import SearchSpace

COLOURS = ("#3366aa", "#dd6633", "#339966", "#aa4488", "#bb9922", "#5599cc", "#888888")
_UNITS = {"macs": ("multiply-adds in millions", 1e-6), "params": ("parameters in millions", 1e-6)}
_UNITS |= {"latency_ms": ("latency in ms", 1.0)}
_ONE_SHOT, _TESTED = "one-shot top-1 in %", "test top-1 in %"
_RANKS, _LEAST = 10, 8
"""Operations are counted in architectures of these ranks (PAD-NAS figure 3), where there are so many."""
_SUMS = {"total_samples", "seed"}


@dataclass(frozen=True)
class Figure:
    """A figure, what it shows in a sentence, and its numbers.

    Attributes:
        name: a file's name without an ending.
    """

    name: str
    title: str
    text: str
    drawing: go.Figure
    table: pd.DataFrame


def figures(outcome: Outcome) -> Iterator[Figure]:
    """The figures of one run, but for its front."""
    folder = RunFolder(outcome.run)
    space = outcome.whole_space
    yield from _search(outcome)
    yield from _training(folder)
    yield from _learner(outcome)
    yield from _operations(outcome, space)
    yield from _learnt(folder)
    yield from _standalone(outcome)
    yield from _layers(outcome, space)


def front(outcomes: Sequence[Outcome]) -> Figure:
    """What each run's final step evaluated, and the Pareto fronts."""
    go = graph_objects()
    unit, scale = _UNITS[outcomes[0].cost]
    drawing = go.Figure()
    for number, outcome in enumerate(outcomes):
        colour, name = COLOURS[number % len(COLOURS)], _called(outcome, outcomes)
        final = outcome.evaluated.drop_duplicates("architecture")
        drawing.add_scatter(
            x=final[outcome.cost] * scale,
            y=final["top1"],
            mode="markers",
            marker={"color": colour, "opacity": 0.3, "size": 6},
            name=f"{name}: evaluated",
            customdata=final["architecture"],
            hovertext=[_hover(row) for row in final.to_dict("records")],
            hoverinfo="text",
        )
        best = outcome.front
        drawing.add_scatter(
            x=best[outcome.cost] * scale,
            y=best["top1"],
            mode="lines+markers",
            line={"color": colour, "shape": "hv"},
            marker={"color": colour, "size": 9, "symbol": "diamond"},
            name=f"{name}: Pareto front",
            customdata=best["architecture"],
            hovertext=[_hover(row) for row in best.to_dict("records")],
            hoverinfo="text",
        )
    if all(len(one.front) == 1 for one in outcomes):
        drawing.update_xaxes(rangemode="tozero")
        drawing.update_yaxes(rangemode="tozero")
    accuracy = _TESTED if all(one.is_tested for one in outcomes) else _ONE_SHOT
    _label(drawing, unit, accuracy)
    table = pd.concat([one.front.assign(run=one.run) for one in outcomes], ignore_index=True)
    text = "Each point is an architecture of the final step; no other is both cheaper and more accurate than a diamond."
    return Figure("pareto-front", "Accuracy against cost", text, drawing, table)


def _search(outcome: Outcome) -> Iterator[Figure]:
    """Best accuracy so far, evaluation by evaluation, of each step that evaluated more than one."""
    go = graph_objects()
    table = outcome.table.assign(evaluation=np.arange(1, len(outcome.table) + 1))
    counts = table.groupby("step", sort=False).size()
    shown = [step for step in counts.index if counts[step] > 1]
    if not shown:
        return
    drawing = go.Figure()
    for number, step in enumerate(shown):
        rows = table[table["step"] == step]
        colour = COLOURS[number % len(COLOURS)]
        drawing.add_scatter(
            x=rows["evaluation"],
            y=rows["top1"],
            mode="markers",
            marker={"color": colour, "opacity": 0.35, "size": 5},
            showlegend=False,
            hovertext=[_hover(row) for row in rows.to_dict("records")],
            hoverinfo="text",
        )
        best = rows["top1"].cummax()
        drawing.add_scatter(x=rows["evaluation"], y=best, mode="lines", line={"color": colour}, name=_safe(step))
    _label(drawing, "evaluations", _ONE_SHOT)
    told = table[table["step"].isin(shown)][["evaluation", "step", "trial", "iteration", "architecture", "top1"]]
    text = "Every evaluation of the run in order, and the best of each step so far."
    yield Figure("search", "The search", text, drawing, told)


def _training(folder: RunFolder) -> Iterator[Figure]:
    """Loss and accuracy of each training, epoch by epoch."""
    from plotly.subplots import make_subplots

    rows = [{"step": step, **row} for step, epochs in training_histories(folder).items() for row in epochs]
    if not rows:
        return
    table = pd.DataFrame(rows)
    drawing = make_subplots(cols=2, subplot_titles=["training loss", "training top-1 in %"], horizontal_spacing=0.09)
    for number, step in enumerate(table["step"].unique()):
        its = table[table["step"] == step]
        for place, column in enumerate(("loss", "top1"), start=1):
            drawing.add_scatter(
                x=its["epoch"],
                y=its[column],
                mode="lines+markers" if len(its) < 3 else "lines",
                line={"color": COLOURS[number % len(COLOURS)]},
                name=_safe(step),
                legendgroup=step,
                showlegend=place == 1,
                row=1,
                col=place,
            )
    drawing.update_xaxes(title_text="epoch")
    yield Figure("training", "Training", "Loss and accuracy on the training images, a line a step.", drawing, table)


def _learner(outcome: Outcome) -> Iterator[Figure]:
    """What a training that chooses architectures says of itself after each epoch: entropy, K, temperature, ..."""
    from plotly.subplots import make_subplots

    from raynas.results.evaluation_table import COLUMNS

    table = outcome.table
    own = [key for key in table.columns if key not in COLUMNS and pd.api.types.is_numeric_dtype(table[key])]
    for step, rows in table.groupby("step", sort=False):
        told = rows[["iteration", *own]].dropna(axis="columns", how="all")
        columns = [key for key in told.columns if key in own and key not in _SUMS and told[key].nunique() > 1]
        if len(rows) < 3 or rows["iteration"].nunique() < len(rows) or not columns:
            continue
        drawing = make_subplots(cols=len(columns), subplot_titles=[_safe(key) for key in columns])
        for place, column in enumerate(columns, start=1):
            line = {"color": COLOURS[(place - 1) % len(COLOURS)]}
            drawing.add_scatter(
                x=told["iteration"] + 1, y=told[column], mode="lines", line=line, showlegend=False, row=1, col=place
            )
        drawing.update_xaxes(title_text="epoch")
        text = "What the method writes down of itself after each epoch (entropy in nats)."
        yield Figure(f"course-of-{step}", f"The course of {step}", text, drawing, told)


def _operations(outcome: Outcome, space: SearchSpace) -> Iterator[Figure]:
    """How often the best architectures of each search take each operation (PAD-NAS figure 3)."""
    for step, rows in outcome.table.groupby("step", sort=False):
        distinct = rows[rows["top1"].notna()].drop_duplicates("architecture")
        if len(distinct) < _LEAST or rows["iteration"].nunique() == len(rows):
            continue
        best = distinct[non_domination_ranks(distinct["top1"], distinct[outcome.cost]) < _RANKS]
        counts = np.zeros((len(space.choices), max(len(choice.options) for choice in space.choices)))
        for text in best["architecture"]:
            for place, (choice, value) in enumerate(zip(space.choices, space.parse(text).indices, strict=True)):
                counts[place, list(choice.taken(value))] += 1 / len(best)
        text = f"The share of the {len(best)} best architectures (rank below {_RANKS}) that take each; none where grey."
        title = f"Operations of {step}"
        yield Figure(f"operations-of-{step}", title, text, *_by_option(space, counts, "share"))


def _learnt(folder: RunFolder) -> Iterator[Figure]:
    """What a learner ended with: its distribution over the options, or their weights in a mixture."""
    for file in folder.names("steps"):
        name = f"steps/{file}/probabilities.json"
        if folder.exists(name):
            told = folder.read_json(name)
            step = file.partition("-")[2]
            values = np.array(told["options"], dtype=float)
            drawn = _by_option(from_specification(told["space"]), values, "weight")
            text = "What each option had at the end: its probability, or its weight in the mixture; none where grey."
            yield Figure(f"learnt-by-{step}", f"What {step} learnt", text, *drawn)


def _by_option(space: SearchSpace, values: np.ndarray[Any, Any], of: str) -> tuple[go.Figure, pd.DataFrame]:
    """A heat map of choices and options."""
    options = list(dict.fromkeys(option for choice in space.choices for option in choice.options))
    grid = np.full((len(space.choices), len(options)), np.nan)
    for place, choice in enumerate(space.choices):
        for index, option in enumerate(choice.options):
            if index < values.shape[1]:
                grid[place, options.index(option)] = values[place, index]
    names = [choice.name for choice in space.choices]
    drawing = graph_objects().Figure()
    drawing.add_heatmap(
        z=grid.T,
        x=[_safe(name) for name in names],
        y=[_safe(option) for option in options],
        colorscale="Blues",
        zmin=0,
        hovertemplate=f"%{{x}}: %{{y}}<br>{of} %{{z:.3f}}<extra></extra>",
        colorbar={"title": of, "thickness": 12},
    )
    drawing.update_layout(height=max(320, 130 + 19 * len(options)), plot_bgcolor="#e4e6ea")
    drawing.update_xaxes(tickangle=-60, type="category")
    drawing.update_yaxes(type="category", autorange="reversed")
    return drawing, pd.DataFrame(grid, index=pd.Index(names, name="choice"), columns=options).reset_index()


def _standalone(outcome: Outcome) -> Iterator[Figure]:
    """One-shot accuracy against that of the same networks trained alone."""
    both = outcome.standalone
    if outcome.is_tested or len(both) < 2:
        return
    drawing = graph_objects().Figure()
    drawing.add_scatter(
        x=both["top1"],
        y=both["standalone_top1"],
        mode="markers",
        marker={"color": COLOURS[0], "size": 9},
        customdata=both["architecture"],
        hovertext=[_hover(row) for row in both.to_dict("records")],
        hoverinfo="text",
    )
    _label(drawing, _ONE_SHOT, "stand-alone test top-1 in %")
    correlations = outcome.correlations
    text = "The final step's networks that were trained alone."
    if correlations is not None:
        text += (
            f" Kendall's tau {correlations['kendall_tau']:.2f}, Spearman's rho {correlations['spearman_rho']:.2f}, "
            f"Pearson's r {correlations['pearson_r']:.2f} of {correlations['networks']:.0f} networks."
        )
    told = both[["architecture", "top1", "standalone_top1", "macs", "params"]]
    yield Figure("one-shot-against-stand-alone", "One-shot against stand-alone accuracy", text, drawing, told)


def _layers(outcome: Outcome, space: SearchSpace) -> Iterator[Figure]:
    """What each layer of the best architecture costs, where costs are a sum over the layers."""
    from search_spaces.costs import TableCosts

    costs = space.costs()
    if not outcome.best or not isinstance(costs, TableCosts):
        return
    from plotly.subplots import make_subplots

    taken = space.parse(outcome.best["architecture"]).indices
    rows = [
        {
            "choice": choice.name,
            "option": choice.write(value),
            **{key: float(costs.table[key][place, list(choice.taken(value))].sum()) for key in ("macs", "params")},
        }
        for place, (choice, value) in enumerate(zip(space.choices, taken, strict=True))
    ]
    rows.append({"choice": "the rest", "option": "stem, head", **{key: costs.fixed[key] for key in ("macs", "params")}})
    table = pd.DataFrame(rows)
    drawing = make_subplots(cols=2, subplot_titles=["M multiply-adds", "M parameters"], horizontal_spacing=0.09)
    for place, key in enumerate(("macs", "params"), start=1):
        drawing.add_bar(
            x=[_safe(name) for name in table["choice"]],
            y=table[key] / 1e6,
            hovertext=[_safe(option) for option in table["option"]],
            marker={"color": COLOURS[0]},
            showlegend=False,
            row=1,
            col=place,
        )
    drawing.update_xaxes(tickangle=-60, type="category")
    yield Figure("layers", "What the best network's layers cost", "Of one image, layer by layer.", drawing, table)


def graph_objects() -> Any:
    """plotly's.

    Raises:
        UserError: if plotly is missing.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise UserError("A report needs plotly: pip install 'raynas[report]'.") from error
    return go


def _called(outcome: Outcome, among: Sequence[Outcome]) -> str:
    """The method's name, and the run's folder where several runs have it."""
    alike = [one for one in among if one.method == outcome.method]
    return _safe(outcome.method if len(alike) == 1 else f"{outcome.method} {outcome.run.rpartition('/')[2]}")


def _hover(row: Mapping[Any, Any]) -> str:
    words = row["architecture"].split(" | ")
    text = "<br>| ".join(_safe(word) for word in words)
    time = "" if pd.isna(row["latency_ms"]) else f", {row['latency_ms']:.3f} ms"
    costs = f"{row['macs'] / 1e6:.3f} M multiply-adds, {row['params'] / 1e6:.3f} M parameters"
    return f"{row['top1']:.2f} %, {costs}{time}<br>{text}"


def _safe(text: Any) -> str:
    return html.escape(str(text))


def _label(drawing: go.Figure, x: str, y: str) -> None:
    drawing.update_xaxes(title_text=x)
    drawing.update_yaxes(title_text=y)

"""The figures of a report, each with the table of its numbers. They need nothing but the run folder.

plotly reads tags in its texts. Texts from outside (architectures, options, methods, folders) are therefore escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raynas.reporting.units import COST_UNITS, format_costs
from raynas.results.outcome import Outcome
from raynas.results.pareto import non_domination_ranks
from raynas.storage.run_folder import RunFolder
from raynas.storage.step_records import training_histories
from search_spaces import from_specification
from search_spaces.errors import UserError, format_count

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search_spaces import SearchSpace

COLOURS = ("#3366aa", "#dd6633", "#339966", "#aa4488", "#bb9922", "#5599cc", "#888888")
_ONE_SHOT, _TEST = "one-shot top-1 in %", "test top-1 in %"
_RANKS = 10
"""Operations are counted in the architectures below this rank (PAD-NAS figure 3)."""
_LEAST_ARCHITECTURES = 8
"""A search with fewer architectures has no figure of operations."""
_LEAST_EPOCHS = 3
"""A training with fewer epochs has no figure of the learner."""
_NO_LEARNER_STATE = {"total_samples", "seed"}
"""Numeric columns of the table that are no state of a learner: a running count, and the seed."""


@dataclass(frozen=True)
class Figure:
    """A figure with its numbers.

    Attributes:
        name: the name of its files, without an ending.
        text: an explanation for people.
    """

    name: str
    title: str
    text: str
    plot: go.Figure
    table: pd.DataFrame


def draw_run_figures(outcome: Outcome) -> Iterator[Figure]:
    """Yield the figures of one run, without its Pareto front."""
    folder = RunFolder(outcome.run)
    space = outcome.whole_space
    yield from _draw_search(outcome)
    yield from _draw_training(folder)
    yield from _draw_learner(outcome)
    yield from _draw_operations(outcome, space)
    yield from _draw_probabilities(folder)
    yield from _draw_standalone(outcome)
    yield from _draw_layers(outcome, space)


def draw_front(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the architectures of each run's final step, and the Pareto fronts."""
    go = import_plotly()
    unit = COST_UNITS[outcomes[0].cost]
    plot = go.Figure()
    for number, outcome in enumerate(outcomes):
        colour, name = COLOURS[number % len(COLOURS)], _legend_name(outcome, outcomes)
        final = outcome.evaluated.drop_duplicates("architecture")
        plot.add_scatter(
            x=final[outcome.cost] * unit.scale,
            y=final["top1"],
            mode="markers",
            marker={"color": colour, "opacity": 0.3, "size": 6},
            name=f"{name}: evaluated",
            customdata=final["architecture"],
            hovertext=[_hover(row) for row in final.to_dict("records")],
            hoverinfo="text",
        )
        best = outcome.front
        plot.add_scatter(
            x=best[outcome.cost] * unit.scale,
            y=best["top1"],
            mode="lines+markers",
            line={"color": colour, "shape": "hv"},
            marker={"color": colour, "size": 9, "symbol": "diamond"},
            name=f"{name}: Pareto front",
            customdata=best["architecture"],
            hovertext=[_hover(row) for row in best.to_dict("records")],
            hoverinfo="text",
        )
    if all(len(outcome.front) == 1 for outcome in outcomes):
        plot.update_xaxes(rangemode="tozero")
        plot.update_yaxes(rangemode="tozero")
    accuracy = _TEST if all(outcome.is_tested for outcome in outcomes) else _ONE_SHOT
    _name_axes(plot, unit.axis, accuracy)
    table = pd.concat([outcome.front.assign(run=outcome.run) for outcome in outcomes], ignore_index=True)
    text = "Each point is an architecture of the final step. The diamonds are the Pareto front."
    return Figure("pareto-front", "Accuracy against cost", text, plot, table)


def _draw_search(outcome: Outcome) -> Iterator[Figure]:
    """Draw the evaluations in order, and the best accuracy so far of each step with more than one evaluation."""
    go = import_plotly()
    table = outcome.table.assign(evaluation=np.arange(1, len(outcome.table) + 1))
    counts = table.groupby("step", sort=False).size()
    steps = [step for step in counts.index if counts[step] > 1]
    if not steps:
        return
    plot = go.Figure()
    for number, step in enumerate(steps):
        rows = table[table["step"] == step]
        colour = COLOURS[number % len(COLOURS)]
        plot.add_scatter(
            x=rows["evaluation"],
            y=rows["top1"],
            mode="markers",
            marker={"color": colour, "opacity": 0.35, "size": 5},
            showlegend=False,
            hovertext=[_hover(row) for row in rows.to_dict("records")],
            hoverinfo="text",
        )
        best = rows["top1"].cummax()
        plot.add_scatter(x=rows["evaluation"], y=best, mode="lines", line={"color": colour}, name=_escape(step))
    _name_axes(plot, "evaluations", _ONE_SHOT)
    columns = ["evaluation", "step", "trial", "iteration", "architecture", "top1"]
    text = "Each point is one evaluation, in the order of the run. Each line is the best accuracy of a step so far."
    yield Figure("search", "The search", text, plot, table[table["step"].isin(steps)][columns])


def _draw_training(folder: RunFolder) -> Iterator[Figure]:
    """Draw the loss and the accuracy of each training after each epoch."""
    from plotly.subplots import make_subplots

    rows = [{"step": step, **row} for step, epochs in training_histories(folder).items() for row in epochs]
    if not rows:
        return
    table = pd.DataFrame(rows)
    plot = make_subplots(cols=2, subplot_titles=["training loss", "training top-1 in %"], horizontal_spacing=0.09)
    for number, step in enumerate(table["step"].unique()):
        epochs = table[table["step"] == step]
        for place, column in enumerate(("loss", "top1"), start=1):
            plot.add_scatter(
                x=epochs["epoch"],
                y=epochs[column],
                mode="lines+markers" if len(epochs) < 3 else "lines",
                line={"color": COLOURS[number % len(COLOURS)]},
                name=_escape(step),
                legendgroup=step,
                showlegend=place == 1,
                row=1,
                col=place,
            )
    plot.update_xaxes(title_text="epoch")
    text = "Loss and accuracy on the training images, one line for each step."
    yield Figure("training", "Training", text, plot, table)


def _draw_learner(outcome: Outcome) -> Iterator[Figure]:
    """Draw the state of a learner after each epoch: the method's own columns of the table, such as the entropy."""
    from plotly.subplots import make_subplots

    from raynas.results.evaluation_table import COLUMNS

    table = outcome.table
    own = [key for key in table.columns if key not in COLUMNS and pd.api.types.is_numeric_dtype(table[key])]
    for step, rows in table.groupby("step", sort=False):
        state = rows[["iteration", *own]].dropna(axis="columns", how="all")
        columns = [
            key for key in state.columns if key in own and key not in _NO_LEARNER_STATE and state[key].nunique() > 1
        ]
        if len(rows) < _LEAST_EPOCHS or rows["iteration"].nunique() < len(rows) or not columns:
            continue
        plot = make_subplots(cols=len(columns), subplot_titles=[_escape(key) for key in columns])
        for place, column in enumerate(columns, start=1):
            line = {"color": COLOURS[(place - 1) % len(COLOURS)]}
            plot.add_scatter(
                x=state["iteration"] + 1, y=state[column], mode="lines", line=line, showlegend=False, row=1, col=place
            )
        plot.update_xaxes(title_text="epoch")
        text = "The state of the learner after each epoch (entropy in nats)."
        yield Figure(f"course-of-{step}", f"The learner of {step}", text, plot, state)


def _draw_operations(outcome: Outcome, space: SearchSpace) -> Iterator[Figure]:
    """Draw how often the best architectures of each search take each operation (PAD-NAS figure 3)."""
    for step, rows in outcome.table.groupby("step", sort=False):
        distinct = rows[rows["top1"].notna()].drop_duplicates("architecture")
        if len(distinct) < _LEAST_ARCHITECTURES or rows["iteration"].nunique() == len(rows):
            continue
        best = distinct[non_domination_ranks(distinct["top1"], distinct[outcome.cost]) < _RANKS]
        counts = np.zeros((len(space.choices), max(len(choice.options) for choice in space.choices)))
        for text in best["architecture"]:
            for place, (choice, value) in enumerate(zip(space.choices, space.parse(text).indices, strict=True)):
                counts[place, list(choice.taken(value))] += 1 / len(best)
        text = (
            f"The share of the {len(best)} best architectures (rank below {_RANKS}) that take each operation. "
            "Grey: the choice has no such option."
        )
        title = f"Operations of {step}"
        yield Figure(f"operations-of-{step}", title, text, *_draw_options(space, counts, "share"))


def _draw_probabilities(folder: RunFolder) -> Iterator[Figure]:
    """Draw the last state of each learner: its distribution over the options, or their weights in a mixture."""
    for step_folder in folder.names("steps"):
        file = f"steps/{step_folder}/probabilities.json"
        if folder.exists(file):
            learnt = folder.read_json(file)
            step = step_folder.partition("-")[2]
            values = np.array(learnt["options"], dtype=float)
            plot_and_table = _draw_options(from_specification(learnt["space"]), values, "weight")
            text = (
                "The probability of each option at the end, or its weight in the mixture. "
                "Grey: the choice has no such option."
            )
            yield Figure(f"learnt-by-{step}", f"Options learnt by {step}", text, *plot_and_table)


def _draw_options(space: SearchSpace, values: np.ndarray[Any, Any], quantity: str) -> tuple[go.Figure, pd.DataFrame]:
    """Draw a heat map of choices and options; return it with its table.

    Args:
        values: shape (choices, options).
        quantity: the name of the values.
    """
    options = list(dict.fromkeys(option for choice in space.choices for option in choice.options))
    grid = np.full((len(space.choices), len(options)), np.nan)
    for place, choice in enumerate(space.choices):
        for index, option in enumerate(choice.options):
            if index < values.shape[1]:
                grid[place, options.index(option)] = values[place, index]
    names = [choice.name for choice in space.choices]
    plot = import_plotly().Figure()
    plot.add_heatmap(
        z=grid.T,
        x=[_escape(name) for name in names],
        y=[_escape(option) for option in options],
        colorscale="Blues",
        zmin=0,
        hovertemplate=f"%{{x}}: %{{y}}<br>{quantity} %{{z:.3f}}<extra></extra>",
        colorbar={"title": quantity, "thickness": 12},
    )
    plot.update_layout(height=max(320, 130 + 19 * len(options)), plot_bgcolor="#e4e6ea")
    plot.update_xaxes(tickangle=-60, type="category")
    plot.update_yaxes(type="category", autorange="reversed")
    return plot, pd.DataFrame(grid, index=pd.Index(names, name="choice"), columns=options).reset_index()


def _draw_standalone(outcome: Outcome) -> Iterator[Figure]:
    """Draw one-shot against stand-alone accuracy."""
    networks = outcome.standalone
    if outcome.is_tested or len(networks) < 2:
        return
    plot = import_plotly().Figure()
    plot.add_scatter(
        x=networks["top1"],
        y=networks["standalone_top1"],
        mode="markers",
        marker={"color": COLOURS[0], "size": 9},
        customdata=networks["architecture"],
        hovertext=[_hover(row) for row in networks.to_dict("records")],
        hoverinfo="text",
    )
    _name_axes(plot, _ONE_SHOT, "stand-alone test top-1 in %")
    correlations = outcome.correlations
    text = "Each point is a network of the final step that was trained stand-alone."
    if correlations is not None:
        text += (
            f" Kendall's tau {correlations['kendall_tau']:.2f}, Spearman's rho {correlations['spearman_rho']:.2f}, "
            f"Pearson's r {correlations['pearson_r']:.2f}, for "
            f"{format_count(int(correlations['networks']), 'network')}."
        )
    table = networks[["architecture", "top1", "standalone_top1", "macs", "params"]]
    yield Figure("one-shot-against-stand-alone", "One-shot against stand-alone accuracy", text, plot, table)


def _draw_layers(outcome: Outcome, space: SearchSpace) -> Iterator[Figure]:
    """Draw the costs of each layer of the best architecture, if the costs of the space are a sum over its layers."""
    from search_spaces.costs import TableCosts

    costs = space.costs()
    if not outcome.best or not isinstance(costs, TableCosts):
        return
    from plotly.subplots import make_subplots

    values = space.parse(outcome.best["architecture"]).indices
    keys = ("macs", "params")
    rows = [
        {
            "choice": choice.name,
            "option": choice.write(value),
            **{key: float(costs.table[key][place, list(choice.taken(value))].sum()) for key in keys},
        }
        for place, (choice, value) in enumerate(zip(space.choices, values, strict=True))
    ]
    rows.append({"choice": "the rest", "option": "stem, head", **{key: costs.fixed[key] for key in keys}})
    table = pd.DataFrame(rows)
    titles = [COST_UNITS[key].name for key in keys]
    plot = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.09)
    for place, key in enumerate(keys, start=1):
        plot.add_bar(
            x=[_escape(name) for name in table["choice"]],
            y=table[key] * COST_UNITS[key].scale,
            hovertext=[_escape(option) for option in table["option"]],
            marker={"color": COLOURS[0]},
            showlegend=False,
            row=1,
            col=place,
        )
    plot.update_xaxes(tickangle=-60, type="category")
    text = "The multiply-adds for one image and the parameters of each layer."
    yield Figure("layers", "The costs of the best network's layers", text, plot, table)


def check_plotly() -> None:
    """Raises UserError if plotly is not installed. Nothing is imported."""
    if find_spec("plotly") is None:
        raise UserError("A report needs plotly: pip install 'raynas[report]'.")


def import_plotly() -> Any:
    """Return `plotly.graph_objects`.

    Raises:
        UserError: if plotly is missing.
    """
    check_plotly()
    import plotly.graph_objects as go

    return go


def _legend_name(outcome: Outcome, outcomes: Sequence[Outcome]) -> str:
    """Return the method's name; if several runs have this method, with the name of the run folder."""
    same_method = [other for other in outcomes if other.method == outcome.method]
    name = outcome.method if len(same_method) == 1 else f"{outcome.method} {outcome.run.rpartition('/')[2]}"
    return _escape(name)


def _hover(row: Mapping[Any, Any]) -> str:
    text = "<br>| ".join(_escape(stage) for stage in row["architecture"].split(" | "))
    return f"{row['top1']:.2f} %, {format_costs(row)}<br>{text}"


def _escape(text: Any) -> str:
    return html.escape(str(text))


def _name_axes(plot: go.Figure, x: str, y: str) -> None:
    plot.update_xaxes(title_text=x)
    plot.update_yaxes(title_text=y)

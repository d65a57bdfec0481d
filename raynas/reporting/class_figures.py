"""The figures of a report about classes: the best network's accuracy on each class, and its wrong answers."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from raynas.reporting.figures import COLOURS, Figure, import_plotly
from raynas.results.class_accuracy import SHOWN_CLASSES, ClassAccuracy
from search_spaces.errors import format_count


def draw_classes(accuracy: ClassAccuracy) -> Iterator[Figure]:
    """Yield the accuracy by class and the confusion matrix of a run's best network.

    With more than `SHOWN_CLASSES` classes: the classes with the lowest accuracy, and the most frequent wrong answers.
    """
    yield _draw_accuracy(accuracy)
    if len(accuracy.classes) <= SHOWN_CLASSES:
        yield _draw_confusion(accuracy)
    elif accuracy.most_confused(1):
        yield _draw_most_confused(accuracy)


def _draw_accuracy(accuracy: ClassAccuracy) -> Figure:
    measured = accuracy.by_accuracy()
    shown = measured[:SHOWN_CLASSES]
    table = pd.DataFrame(
        {
            "class": [accuracy.classes[label] for label in shown],
            "test_images": accuracy.images[shown],
            "top1": accuracy.top1[shown],
        }
    )
    plot = import_plotly().Figure()
    plot.add_bar(
        x=table["top1"],
        y=_names([accuracy.classes[label] for label in shown]),
        orientation="h",
        marker={"color": COLOURS[0]},
        hovertext=[f"{images:,} test images" for images in table["test_images"]],
        text=table["top1"].map("{:.1f}".format),
    )
    plot.update_xaxes(title_text="test top-1 in %", range=[0, 100])
    plot.update_yaxes(type="category", autorange="reversed")
    plot.update_layout(height=_height(len(shown)))
    some = (
        f" The {format_count(len(shown), 'class')} with the lowest accuracy, of {len(measured):,}."
        if len(measured) > len(shown)
        else ""
    )
    text = f"The accuracy of the best stand-alone network on the test images of each class.{some} {_sentence(accuracy)}"
    return Figure("classes", "Accuracy by class", text, plot, table)


def _draw_confusion(accuracy: ClassAccuracy) -> Figure:
    names = _names(accuracy.classes)
    counts = accuracy.confusion
    with np.errstate(invalid="ignore"):
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    plot = import_plotly().Figure()
    plot.add_heatmap(
        z=shares,
        x=names,
        y=names,
        text=counts,
        texttemplate="%{text}",
        colorscale="Blues",
        zmin=0,
        zmax=100,
        hovertemplate="%{y}, answered %{x}: %{text} images, %{z:.1f} %<extra></extra>",
        colorbar={"title": "% of class", "thickness": 12},
    )
    plot.update_layout(height=_height(len(names)), plot_bgcolor="#e4e6ea")
    plot.update_xaxes(title_text="answer", type="category")
    plot.update_yaxes(title_text="class", type="category", autorange="reversed")
    text = "Test images by class (rows) and answer of the best stand-alone network (columns). Grey: no test images."
    table = pd.DataFrame(counts, columns=list(accuracy.classes))
    table.insert(0, "class", list(accuracy.classes), allow_duplicates=True)
    return Figure("confusion", "Confusion matrix", text, plot, table)


def _draw_most_confused(accuracy: ClassAccuracy) -> Figure:
    rows = [
        (accuracy.classes[label], accuracy.classes[answer], images)
        for label, answer, images in accuracy.most_confused(SHOWN_CLASSES)
    ]
    table = pd.DataFrame(rows, columns=["class", "answer", "images"])
    plot = import_plotly().Figure()
    plot.add_bar(
        x=table["images"],
        y=[
            f"{place}. {html.escape(f'{label}, answered {answer}')}" for place, (label, answer, _) in enumerate(rows, 1)
        ],
        orientation="h",
        marker={"color": COLOURS[1]},
        text=table["images"],
    )
    plot.update_xaxes(title_text="test images", rangemode="tozero")
    plot.update_yaxes(type="category", autorange="reversed")
    plot.update_layout(height=_height(len(rows)))
    text = (
        f"The {len(rows)} most frequent wrong answers of the best stand-alone network, of its answers for "
        f"{format_count(len(accuracy.classes), 'class')}. The model card (JSON) has all answers."
    )
    return Figure("confusion", "Most frequent confusions", text, plot, table)


def _sentence(accuracy: ClassAccuracy) -> str:
    text = accuracy.describe()
    return f"{text[0].upper()}{text[1:]}."


def _names(names: Sequence[str]) -> list[str]:
    """Return escaped names, one category each: plotly merges equal names, so that these get a number."""
    texts = list(map(html.escape, names))
    return [text if texts.count(text) == 1 else f"{text} ({place})" for place, text in enumerate(texts)]


def _height(rows: int) -> int:
    return max(320, 150 + 24 * rows)

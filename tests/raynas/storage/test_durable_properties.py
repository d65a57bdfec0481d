"""Properties: a file is read back whole or not at all, and a stopped run or search continues as if undisturbed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import search_spaces
from raynas.interfaces.searcher import Evaluation, Search
from raynas.storage.progress import Quiet
from raynas.storage.run_folder import DamagedFile, RunFolder
from raynas.study.steps import Steps
from search_spaces import Architecture, Budget
from tuners.search_algorithms.evolution import SposEvolution
from tuners.search_algorithms.generational import GenerationalSearcher
from tuners.search_algorithms.nsga2 import ConstrainedNsga2
from tuners.search_algorithms.random_search import RandomSearch

NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=5)
COLUMNS: tuple[st.SearchStrategy[Any], ...] = (st.integers(-(2**63), 2**63 - 1), st.floats(), NAMES, st.booleans())
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 8))
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=4))
    kinds = [draw(st.sampled_from(COLUMNS)) for _ in names]
    return pd.DataFrame(
        {name: draw(st.lists(kind, min_size=rows, max_size=rows)) for name, kind in zip(names, kinds, strict=True)}
    )


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    shapes = draw(
        st.dictionaries(
            NAMES.filter(lambda name: name != "__metadata__"), st.lists(st.integers(0, 4), max_size=3), max_size=3
        )
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    return {
        name: (100 * torch.randn(shape, generator=generator)).to(draw(st.sampled_from(TYPES)))
        for name, shape in shapes.items()
    }


def assert_equal_tables(first: pd.DataFrame, second: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(first, second, check_exact=True, check_column_type=False)


def assert_equal_tensors(
    first: tuple[dict[str, torch.Tensor], Any], second: tuple[dict[str, torch.Tensor], Any]
) -> None:
    assert (first[0].keys(), first[1]) == (second[0].keys(), second[1])
    for name, tensor in first[0].items():
        assert (tensor.dtype, tensor.shape) == (second[0][name].dtype, second[0][name].shape)
        assert torch.equal(tensor, second[0][name])


def assert_equal(first: Any, second: Any) -> None:
    assert first == second


WRITERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[RunFolder, Any], None]]] = {
    "json": (
        OBJECTS.filter(lambda value: "sha256" not in value),
        lambda folder, value: folder.write_json("file", value),
    ),
    "tensors": (st.tuples(tensors(), OBJECTS), lambda folder, value: folder.write_tensors("file", *value)),
    "table": (tables(), lambda folder, value: folder.write_table("file", value)),
}
READERS: dict[str, Callable[[RunFolder], Any]] = {
    "json": lambda folder: folder.read_json("file"),
    "tensors": lambda folder: folder.read_tensors("file"),
    "table": lambda folder: folder.read_table("file"),
}
ASSERT_EQUAL: dict[str, Callable[[Any, Any], None]] = {
    "json": assert_equal,
    "tensors": assert_equal_tensors,
    "table": assert_equal_tables,
}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=40)
@given(st.data())
def test_a_damaged_file_reads_back_as_written_or_not_at_all(kind: str, data: st.DataObject) -> None:
    values, write = WRITERS[kind]
    value = data.draw(values)
    with TemporaryDirectory() as name:
        folder = RunFolder(name)
        write(folder, value)
        whole = folder.read("file")
        written = READERS[kind](folder)
        if kind != "table":  # a column without values loses its type in Parquet
            ASSERT_EQUAL[kind](written, value)
        damaged: list[bytes] = []
        for _ in range(12):
            place = data.draw(st.integers(0, 8 * len(whole) - 1))
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << place % 8
            damaged += [bytes(flipped), whole[: place // 8]]
        for content in damaged:
            folder.write("file", content)
            try:
                read = READERS[kind](folder)
            except DamagedFile:
                continue
            ASSERT_EQUAL[kind](read, written)


class Stopped(Exception):
    """The end of a run before its last step."""


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcdef"), OBJECTS, OBJECTS), min_size=1, max_size=6, unique_by=lambda step: step[0]
    ),
    stops=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["before", "inside", "after"])), max_size=4),
)
def test_a_run_that_is_stopped_anywhere_computes_each_step_once(
    steps: list[tuple[str, dict[str, Any], dict[str, Any]]], stops: list[tuple[int, str]]
) -> None:
    computed: list[str] = []

    def attempt(number: int, folder: RunFolder, stop: tuple[int, str] | None) -> list[dict[str, Any]]:
        run, results = Steps(folder, number, Quiet()), []
        for position, (name, identity, _) in enumerate(steps):
            if stop == (position, "before"):
                raise Stopped

            def work(step_folder: str, position: int = position) -> dict[str, Any]:
                name, _, result = steps[position]
                assert step_folder == f"steps/{position + 1:02d}-{name}"
                if stop == (position, "inside"):
                    raise Stopped
                computed.append(name)
                return result

            results.append(run.do(name, "training", "", identity, work))
            if stop == (position, "after"):
                raise Stopped
        return results

    with TemporaryDirectory() as name:
        folder = RunFolder(name)
        for number, stop in enumerate(stops, start=1):
            with suppress(Stopped):
                attempt(number, folder, stop)
        last = len(stops) + 1
        expected = [result for _, _, result in steps]
        assert attempt(last, folder, None) == attempt(last + 1, folder, None) == expected
        assert computed == [name for name, _, _ in steps]
        records = Steps(folder, last, Quiet()).records
        assert [(record["name"], record["state"]) for record in records] == [(name, "finished") for name in computed]
        assert [record["result"] for record in records] == expected


SPACE = search_spaces.load("nas-bench-macro", width=0.25, resolution=16)
COSTS = SPACE.costs()
SEARCHERS: tuple[type[GenerationalSearcher], ...] = (ConstrainedNsga2, SposEvolution, RandomSearch)


def run_search(search: Search, values: list[float], generations: int = 1000) -> list[list[Architecture]]:
    """Return the populations of a search for which the top-1 accuracy is a sum of values of the options."""
    populations: list[list[Architecture]] = []
    while len(populations) < generations and (architectures := search.ask()):
        costs = {resource: totals.tolist() for resource, totals in COSTS.cost(architectures).items()}
        search.tell(
            [
                Evaluation(
                    architecture=architecture,
                    top1=sum(
                        values[(3 * choice + option) % len(values)]
                        for choice, option in enumerate(architecture.indices)
                    ),
                    top5=100.0,
                    loss=0.0,
                    images=1,
                    costs={resource: totals[position] for resource, totals in costs.items()},
                    seconds=0.0,
                )
                for position, architecture in enumerate(architectures)
            ]
        )
        populations.append(architectures)
    return populations


@pytest.mark.parametrize("kind", SEARCHERS)
@settings(max_examples=8)
@given(
    population=st.integers(2, 12),
    generations=st.integers(1, 6),
    share=st.floats(0.1, 1),
    values=st.lists(st.floats(0, 5), min_size=1, max_size=24),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_a_search_continues_from_any_generation_as_if_undisturbed(
    kind: type[GenerationalSearcher],
    population: int,
    generations: int,
    share: float,
    values: list[float],
    seed: int,
    data: st.DataObject,
) -> None:
    searcher = kind(population=population, generations=generations)
    lowest, highest = COSTS.bounds()["macs"]
    budget = Budget.model_validate({"macs": {"max": lowest + share * (highest - lowest)}})
    undisturbed = searcher.begin(SPACE, COSTS, budget, seed)
    expected = run_search(undisturbed, values)
    before: list[list[Architecture]] = []
    search = searcher.begin(SPACE, COSTS, budget, seed)
    for stop in sorted(data.draw(st.sets(st.integers(1, len(expected)), min_size=1, max_size=2))):
        before += run_search(search, values, stop - len(before))
        state = json.loads(json.dumps(search.state(), allow_nan=False))
        search = searcher.begin(SPACE, COSTS, budget, seed + 1)
        search.restore(state)
        assert json.loads(json.dumps(search.state(), allow_nan=False)) == state
    assert before + run_search(search, values) == expected
    assert search.note == undisturbed.note

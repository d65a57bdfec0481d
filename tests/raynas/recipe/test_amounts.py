"""Amounts as people write them, in the options of commands and in recipes: one parser reads all of them."""

from __future__ import annotations

import re

import pytest

from raynas.cli.main import main
from raynas.recipe.recipe import Recipe
from raynas.reporting.compare import parse_limits
from search_spaces.budget.amounts import read_amount
from search_spaces.budget.budget import Budget
from search_spaces.errors import UserError
from search_spaces.validation import read_yaml

AMOUNTS = {
    "50M": 50e6,
    "50m": 50e6,
    " 50 M ": 50e6,
    "50,000,000": 50e6,
    "50_000_000": 50e6,
    "0.05G": 50e6,
    ".05g": 50e6,
    "0.05B": 50e6,
    "50e6": 50e6,
    "5E+7": 50e6,
    "50000k": 50e6,
    "50000000": 50e6,
    "50000000.": 50e6,
    "1,234.5k": 1_234_500.0,
    "0": 0.0,
}
REFUSED = {
    "50MB": "not bytes: write 50M",
    "50 kB": "not bytes: write 50k",
    "50MiB": "not bytes: write 50M",
    "0.5gb": "not bytes: write 0.5G",
    "50 bytes": "not bytes: write 50M",
    "20ms": "latency_ms counts milliseconds",
    "1,5M": "a comma separates thousands",
    "50,000,00": "a comma separates thousands",
    "-5M": "cannot be negative",
    "50X": "it is no amount: write a number",
    "much": "it is no amount: write a number",
    "M": "it is no amount",
    "": "it is no amount",
    ".": "it is no amount",
    "5 0M": "it is no amount",
    "inf": "finite number",
    "nan": "finite number",
}


@pytest.mark.parametrize(("text", "amount"), AMOUNTS.items())
def test_every_form_is_read_by_options_and_by_recipes(text: str, amount: float) -> None:
    assert read_amount(text) == amount
    assert parse_limits(macs=text, params=text) == {"macs": amount, "params": amount}
    budget = Budget.model_validate({"macs": read_yaml(f"max: '{text}'", "a test")})
    assert budget.root["macs"].max == amount


@pytest.mark.parametrize("text", ["50M", "50m", "50,000,000", "50_000_000", "0.05G", "50e6", "50000000"])
def test_a_recipe_needs_no_quotes(text: str) -> None:
    content = read_yaml(f"method: spos\nspace: fbnet\nbudget:\n  macs:\n    max: {text}\n", "a test")
    assert Recipe.read(content).budget.root["macs"].max == 50e6
    changed = Recipe.read({"method": "spos", "space": "fbnet"}, [f"budget.macs.max={text}"])
    assert changed.budget.root["macs"].max == 50e6


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_what_is_no_amount_is_refused_with_the_reason(
    text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        parse_limits(macs=text)
    with pytest.raises(UserError, match=f"budget.macs.max = .*{re.escape(reason)}"):
        Recipe.read({"method": "spos", "space": "fbnet", "budget": {"macs": {"max": text}}})
    for command in (["auto", "nowhere"], ["compare", "nowhere"]):
        with pytest.raises(SystemExit) as end:
            main([*command, f"--max-macs={text}"])
        error = capsys.readouterr().err
        assert end.value.code == 2
        assert "--max-macs" in error
        assert "macs.max" not in error
        assert reason in error


def test_true_is_no_amount() -> None:
    with pytest.raises(UserError, match="not true or false"):
        Recipe.read({"method": "spos", "space": "fbnet", "budget": {"macs": {"max": True}}})

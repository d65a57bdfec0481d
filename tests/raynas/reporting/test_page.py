"""The report in a headless browser; the comparison of runs; the status of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

import raynas
from raynas.cli import main
from raynas.reporting.compare import compare, hypervolume
from raynas.reporting.page import write_report
from raynas.reporting.watch import read_status
from raynas.results.fit_result import correlations, read_networks, standalone_rows, with_standalone
from raynas.storage.run_folder import RunFolder
from search_spaces import UserError
from tests.support.absent import absent


@pytest.fixture(scope="module")
def chromium() -> str:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        absent("a Chromium, which is not installed here")
    return browser


@pytest.fixture(scope="module")
def page(chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1100, "height": 900})
        browser.close()


def open_page(page: Page, file: Path) -> list[str]:
    """Open a file, wait until it is drawn, and return errors of the page and requests to a network."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
    page.goto(file.as_uri())
    page.wait_for_selector("#front .scatterlayer .point")
    return faults


def test_the_page_draws_the_front_and_shows_architectures(page: Page, standalone_run: Path, tmp_path: Path) -> None:
    file = write_report([str(standalone_run)], tmp_path / "deep" / "page.html")
    assert open_page(page, file) == []
    outcome = raynas.load(standalone_run)
    final = outcome.table[outcome.table["step"] == outcome.final].drop_duplicates("architecture")
    points = page.locator("#front .scatterlayer .point")
    assert points.count() == len(final) + len(outcome.front)
    diamond = points.nth(points.count() - 1)
    box = diamond.bounding_box()
    assert box is not None
    center = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    costliest = outcome.front.iloc[-1]
    page.mouse.move(*center)
    hover = page.locator("#front .hoverlayer .hovertext")
    hover.wait_for()
    text = hover.text_content() or ""
    assert f"{costliest['top1']:.2f} %" in text
    assert costliest["architecture"].split(" | ")[0] in text
    page.mouse.click(*center)
    assert page.locator("#chosen").inner_text().startswith(costliest["architecture"])
    for title in (
        "Accuracy by class",
        "Confusion matrix",
        "Accuracy against cost",
        "The search",
        "Training",
        "Operations of final",
        "Stand-alone training",
    ):
        assert page.get_by_text(title, exact=True).count() == 1, title
    assert page.get_by_text("One-shot against stand-alone accuracy").count() == 1


def test_the_page_leads_with_the_network_its_budget_and_the_images(
    page: Page, standalone_run: Path, tmp_path: Path
) -> None:
    assert open_page(page, write_report([str(standalone_run)], tmp_path / "page.html")) == []
    facts = page.locator("h1 + .facts li").all_inner_texts()
    best = max(network["top1"] for network in read_networks(RunFolder(standalone_run)))
    assert facts[0].startswith(f"test top-1 {best:.2f} % of ")
    assert facts[1].startswith("balanced accuracy ")
    assert any(fact.startswith("budget: macs at most 300,000") for fact in facts)
    assert any("(the network: " in fact for fact in facts if fact.startswith("budget: "))
    assert any("images of 10 classes" in fact for fact in facts)
    assert any(fact.startswith("10 classes: 0, 1, 2") for fact in facts)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(page: Page, standalone_run: Path, tmp_path: Path, width: int) -> None:
    """On a phone too: wide tables scroll inside their own box."""
    long = tmp_path / "run"
    shutil.copytree(standalone_run, long)
    folder = RunFolder(long)
    folder.write_json("versions.json", {**folder.read_json("versions.json"), "commit": "0123456789abcdef" * 5})
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({"width": width, "height": 900})
    try:
        assert open_page(page, write_report([str(long)], tmp_path / "page.html")) == []
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        boxes = page.locator(".wide").evaluate_all("all => all.map(each => [each.clientWidth, each.scrollWidth])")
        assert all(shown <= width for shown, _ in boxes)
        assert any(whole > shown for shown, whole in boxes) == (width == 390)
    finally:
        page.set_viewport_size(size)


def test_several_runs_share_one_page(page: Page, standalone_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(standalone_run, other)
    file = write_report([str(standalone_run), str(other)], tmp_path / "page.html")
    assert open_page(page, file) == []
    assert page.get_by_text("Comparison").count() == 1
    assert page.locator("#front .legend .traces").count() == 4


def test_texts_from_outside_are_escaped(page: Page, standalone_run: Path, tmp_path: Path) -> None:
    markup = "<b><img src=x onerror=window.injected=1>"
    evil = tmp_path / markup
    shutil.copytree(standalone_run, evil)
    recipe = yaml.safe_load((evil / "recipe.yaml").read_text())
    script = f"</title></pre></script><script>window.injected = 1</script>{markup}"
    (evil / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "notes": [script]}))
    pd.DataFrame({script: [script]}).to_csv(evil / "more.csv", index=False)
    folder = RunFolder(evil)
    outcome = folder.read_json("outcome.json")
    folder.write_json("outcome.json", {**outcome, "method": script})
    first, *_ = folder.names("evaluations")
    folder.write_table(f"evaluations/{first}", folder.read_table(f"evaluations/{first}").assign(step=markup))
    file = write_report([str(evil), str(standalone_run)], tmp_path / "page.html")
    assert open_page(page, file) == []
    page.wait_for_timeout(300)
    assert page.evaluate("window.injected === undefined")
    assert page.title().startswith(script)
    assert page.locator("h1").first.inner_text().startswith(script)
    assert page.locator("h1").nth(1).inner_text() == str(evil)
    assert page.get_by_role("heading", name=f"Operations of {markup}").count() == 1
    legend = page.locator("#run0-search .legend").text_content() or ""
    assert markup in legend, "plotly escapes texts, too"


@pytest.mark.usefixtures("chromium")
def test_figures_are_written_as_numbers_and_pictures(standalone_run: Path, tmp_path: Path) -> None:
    write_report([str(standalone_run)], tmp_path / "page.html", tmp_path / "figures")
    names = {file.stem for file in (tmp_path / "figures").glob("*.csv")}
    assert {"pareto-front", "search", "training", "operations-of-final", "layers", "classes", "confusion"} <= names
    assert {file.stem for file in (tmp_path / "figures").glob("*.png")} == names
    assert (tmp_path / "figures" / "pareto-front.png").read_bytes().startswith(b"\x89PNG")
    front = pd.read_csv(tmp_path / "figures" / "pareto-front.csv")
    assert front["architecture"].tolist() == raynas.load(standalone_run).front["architecture"].tolist()
    operations = pd.read_csv(tmp_path / "figures" / "operations-of-final.csv").set_index("choice")
    assert np.allclose(operations.sum(axis=1), 1)


def test_a_folder_without_a_run_has_no_report(tmp_path: Path, standalone_run: Path) -> None:
    with pytest.raises(UserError, match="is not the folder of a run"):
        write_report([str(tmp_path)])
    with pytest.raises(UserError, match="cannot be written"):
        write_report([str(standalone_run)], "/proc/page.html")


def test_runs_are_compared(standalone_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = compare([str(standalone_run)]).to_dict("records")
    outcome = raynas.load(standalone_run)
    assert (row["method"], row["space"], row["seed"]) == ("spos", "nas-bench-macro", 0)
    assert row["evaluations"] == len(outcome.table)
    assert (row["top1"], row["macs"]) == (outcome.best["top1"], outcome.best["macs"])
    assert row["standalone_top1"] == outcome.table["standalone_top1"].max()
    steps = RunFolder(standalone_run).read_json("study.json")["steps"]
    assert row["search_seconds"] == sum(step["seconds"] for step in steps if step["name"] in ("supernet", "final"))
    cheapest = int(outcome.front["macs"].min())
    main.main(["compare", str(standalone_run), "--max-macs", str(cheapest), "--json"])
    (limited,) = json.loads(capsys.readouterr().out)
    assert limited["macs"] == cheapest
    main.main(["compare", str(standalone_run), "--max-macs", "1"])
    assert "spos" in capsys.readouterr().out


def test_the_hypervolume_equals_a_calculation_by_hand() -> None:
    """80 % at half the cost and 90 % at three quarters: 80 x 0.5 + 10 x 0.25."""
    assert hypervolume(np.array([80.0, 90.0]), np.array([0.5, 0.75])) == pytest.approx(42.5)
    assert hypervolume(np.array([]), np.array([])) == 0


def test_correlations_equal_a_calculation_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4: five of six pairs agree.

    d was trained twice; the better training counts.
    """
    table = pd.DataFrame({"architecture": list("abcde"), "top1": [10.0, 20.0, 30.0, 40.0, 50.0]})
    accuracies = [("a", 50.0), ("b", 70.0), ("c", 60.0), ("d", 80.0), ("d", 10.0)]
    networks: list[dict[str, Any]] = [
        {"architecture": text, "isomorphic": [], "top1": top1, "top5": 99.0, "balanced_top1": 50.0}
        for text, top1 in accuracies
    ]
    networks.sort(key=lambda network: -network["top1"])
    rows = with_standalone(table, networks)
    assert rows["standalone_top1"].tolist()[:4] == [50, 70, 60, 80]
    assert rows["standalone_top1"].isna().tolist() == [False, False, False, False, True]
    result = correlations(standalone_rows(rows, networks))
    assert result is not None
    assert result["networks"] == 4
    assert result["kendall_tau"] == pytest.approx(4 / 6)
    assert result["spearman_rho"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert result["pearson_r"] == pytest.approx(np.corrcoef([10, 20, 30, 40], [50, 70, 60, 80])[0, 1])
    assert correlations(standalone_rows(rows[:2], networks)) is None
    assert correlations(standalone_rows(table, [])) is None
    equal = [{**network, "top1": 50.0} for network in networks]
    assert correlations(standalone_rows(with_standalone(table, equal), equal)) is None


def test_the_outcome_has_the_correlation(standalone_run: Path) -> None:
    outcome = raynas.load(standalone_run)
    assert outcome.correlations is not None
    assert outcome.correlations["networks"] == 3
    assert outcome.table["standalone_top1"].notna().sum() >= 3


def test_a_finished_run_is_watched_until_its_end(standalone_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["watch", str(standalone_run)])
    text = capsys.readouterr().out
    assert "supernet" in text
    assert f"{standalone_run}: finished" in text.replace("\n", "")
    status = read_status(str(standalone_run))
    assert status["state"] == "finished"
    assert status["evaluations"] == len(raynas.load(standalone_run).table)
    assert {step["state"] for step in status["steps"]} == {"finished"}


def test_a_stopped_run_has_its_own_state(standalone_run: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(standalone_run, stopped)
    (stopped / "outcome.json").unlink()
    folder = RunFolder(stopped)
    steps = folder.read_json("study.json")["steps"]
    steps[1] |= {"state": "begun"}
    folder.write_json("study.json", {"steps": steps})
    status = read_status(str(stopped))
    assert (status["state"], status["held_by"]) == ("stopped", None)
    assert status["steps"][1]["done"] == (raynas.load(standalone_run).table["step"] == "final").sum()
    with pytest.raises(UserError, match="is not the folder of a run"):
        read_status(str(tmp_path))

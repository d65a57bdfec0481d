"""The JSON and the tables that commands print, and the modules that a command loads."""

import json
import subprocess
import sys
from contextlib import suppress

import pytest

import raynas
import search_spaces
from raynas.cli.main import main
from raynas.study import method

SIZES = {
    "nas-bench-macro": "6561",
    "nats-bench": str(5**6),
    "proxylessnas": str(3 * 6**6 * 7**15),
    "proxylessnas-large": "1549031679337668995101220928",
    "fbnet": str(9**22),
    "fbnet-enlarged": str(10**22),
    "resnet20": "1",
}


def run_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that succeeds, and return its stdout."""
    with suppress(SystemExit):
        main(arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_spaces_have_exact_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    spaces = {row["name"]: row for row in json.loads(run_command(["spaces", "--json"], capsys))}
    assert list(spaces) == search_spaces.names()
    assert len(spaces) >= 21
    assert {name: spaces[name]["size"] for name in SIZES} == SIZES
    keys = ["name", "choices", "size", "macs_min", "macs_max", "params_min", "params_max", "resolution", "paper"]
    assert all(list(row) == keys for row in spaces.values())
    assert [spaces["nas-bench-macro"][key] for key in ("choices", "resolution")] == [8, 32]
    assert all(isinstance(row[key], int) for row in spaces.values() for key in keys[3:7])
    assert all(row["macs_min"] <= row["macs_max"] for row in spaces.values())


def test_methods_have_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    methods = {row["name"]: row for row in json.loads(run_command(["methods", "--json"], capsys))}
    assert set(methods) == set(method.method_names()) >= {"pad-nas", "i-supernet", "p-supernet", "spos", "random"}
    assert all(list(row) == ["name", "paper", "spaces", "settings"] for row in methods.values())
    settings = methods["pad-nas"]["settings"]
    assert (settings["stages"], settings["epochs"], settings["prune_below"]) == (4, [120, 80, 40], 0.01)
    assert (settings["search"]["population"], settings["search"]["generations"]) == (64, 40)


def test_large_sizes_are_rounded_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in run_command(["spaces"], capsys).splitlines()]
    sizes = {row[0]: row[2] for row in rows}
    assert (sizes["nas-bench-macro"], sizes["fbnet"], sizes["resnet20"]) == ("6561", "9.85e+20", "1")


def test_published_architectures_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    last = run_command(["spaces"], capsys).splitlines()[-1]
    assert last == f"Published architectures, for describe and fit: {', '.join(search_spaces.published_names())}"
    text = run_command(["describe", "hournas-a"], capsys)
    assert text.startswith("fbnet, 224 pixels: ")
    assert "HourNAS-A (HourNAS table 9): 298" in text
    assert ["stage2.1", "vital", "k5e6"] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("arguments", [["spaces"], ["methods"], ["describe", "nas-bench-macro"]])
def test_people_get_tables(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(run_command(arguments, capsys).splitlines()) > 3


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"], capsys) == f"raynas {raynas.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["methods", "--json"]])
def test_help_loads_no_torch_and_no_ray(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom raynas.cli.main import main\nsys.argv[1:] = sys.argv[1:]\n"
        "try:\n    main()\nfinally:\n"
        "    print([m for m in ('torch', 'ray', 'pandas', 'pymoo') if m in sys.modules], file=sys.stderr)\n"
    )
    finished = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    heavy = finished.stderr.splitlines()[-1]
    if arguments[-1] == "--help":
        assert heavy == "[]"
    assert "'ray'" not in heavy
    assert finished.stdout


def test_importing_the_packages_loads_no_torch_ray_or_pandas() -> None:
    script = (
        "import sys, raynas, search_spaces, tuners; print([m for m in ('torch', 'ray', 'pandas') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        *("auto", "compare", "demo", "describe", "draw", "export", "fit", "methods", "report", "run"),
        *("predict", "schema", "spaces", "table", "watch", "latency measure", "latency check"),
    ],
)
def test_help_fits_on_a_screen_and_shows_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert f"For example: raynas {command}" in " ".join(text.split())
    assert len(text.splitlines()) <= 40

"""What the commands print for programs, and that asking for help costs nothing."""

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


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that succeeds prints on stdout."""
    with suppress(SystemExit):
        main(arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_spaces_have_their_exact_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    spaces = {row["name"]: row for row in json.loads(told(["spaces", "--json"], capsys))}
    assert list(spaces) == search_spaces.names()
    assert len(spaces) >= 21
    assert {name: spaces[name]["size"] for name in SIZES} == SIZES
    keys = ["name", "choices", "size", "macs_min", "macs_max", "params_min", "params_max", "resolution", "paper"]
    assert all(list(row) == keys for row in spaces.values())
    assert [spaces["nas-bench-macro"][key] for key in ("choices", "resolution")] == [8, 32]
    assert all(isinstance(row[key], int) for row in spaces.values() for key in keys[3:7])
    assert all(row["macs_min"] <= row["macs_max"] for row in spaces.values())


def test_methods(capsys: pytest.CaptureFixture[str]) -> None:
    methods = {row["name"]: row for row in json.loads(told(["methods", "--json"], capsys))}
    assert set(methods) == set(method.names()) >= {"pad-nas", "i-supernet", "p-supernet", "spos", "random"}
    assert all(list(row) == ["name", "paper", "spaces", "settings"] for row in methods.values())
    settings = methods["pad-nas"]["settings"]
    assert (settings["stages"], settings["epochs"], settings["prune_below"]) == (4, [120, 80, 40], 0.01)
    assert (settings["search"]["population"], settings["search"]["generations"]) == (64, 40)


def test_a_size_is_shown_as_one_can_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in told(["spaces"], capsys).splitlines()]
    shown = {row[0]: row[2] for row in rows}
    assert (shown["nas-bench-macro"], shown["fbnet"], shown["resnet20"]) == ("6561", "9.85e+20", "1")


@pytest.mark.parametrize("arguments", [["spaces"], ["methods"], ["describe", "nas-bench-macro"]])
def test_people_are_shown_tables(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(told(arguments, capsys).splitlines()) > 3


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(["--version"], capsys) == f"raynas {raynas.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["methods", "--json"]])
def test_what_needs_no_torch_and_no_ray_loads_neither(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom raynas.cli.main import main\nsys.argv[1:] = sys.argv[1:]\n"
        "try:\n    main()\nfinally:\n"
        "    print([m for m in ('torch', 'ray', 'pandas', 'pymoo') if m in sys.modules], file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    heavy = ended.stderr.splitlines()[-1]
    if arguments[-1] == "--help":
        assert heavy == "[]"
    assert "'ray'" not in heavy
    assert ended.stdout


def test_importing_the_packages_loads_nothing_heavy() -> None:
    script = (
        "import sys, raynas, search_spaces, tuners; print([m for m in ('torch', 'ray', 'pandas') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        *("auto", "compare", "demo", "describe", "draw", "export", "fit", "methods", "report", "run", "schema"),
        *("spaces", "table", "watch", "latency measure", "latency check"),
    ],
)
def test_help_fits_on_a_screen_and_shows_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    main([*command.split(), "--help"])
    told = capsys.readouterr().out
    assert f"For example: raynas {command}" in " ".join(told.split())
    assert len(told.splitlines()) <= 40

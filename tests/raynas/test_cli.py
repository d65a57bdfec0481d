"""What the commands print for programs, and that asking for help costs nothing."""

import json
import subprocess
import sys
from contextlib import suppress

import pytest

import raynas
from raynas import method
from raynas.cli import main


def told(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that succeeds prints on stdout."""
    monkeypatch.setattr(sys, "argv", ["raynas", *arguments])
    with suppress(SystemExit):
        main()
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_spaces_have_their_exact_sizes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spaces = {row["name"]: row for row in json.loads(told(["spaces", "--json"], monkeypatch, capsys))}
    assert {name: row["size"] for name, row in spaces.items()} == {
        "nas-bench-macro": "6561",
        "proxylessnas": "664506689423701824",
        "proxylessnas-large": "1549031679337668995101220928",
    }
    keys = ["name", "choices", "size", "macs_min", "macs_max", "params_min", "params_max", "resolution", "paper"]
    assert all(list(row) == keys for row in spaces.values())
    assert [spaces["nas-bench-macro"][key] for key in ("choices", "resolution")] == [8, 32]
    assert all(isinstance(row[key], int) for row in spaces.values() for key in keys[3:7])


def test_methods(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    methods = {row["name"]: row for row in json.loads(told(["methods", "--json"], monkeypatch, capsys))}
    assert set(methods) == set(method.names()) >= {"pad-nas", "i-supernet", "p-supernet", "spos", "random"}
    assert all(list(row) == ["name", "paper", "spaces", "settings"] for row in methods.values())
    settings = methods["pad-nas"]["settings"]
    assert (settings["stages"], settings["epochs"], settings["prune_below"]) == (4, [120, 80, 40], 0.01)
    assert (settings["search"]["population"], settings["search"]["generations"]) == (64, 40)


def test_an_architecture_is_described(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = "nas-bench-macro: skip k5e6 | skip k3e3 k5e6 | k3e3 skip skip"
    about = json.loads(told(["describe", text, "--json"], monkeypatch, capsys))
    keys = ["space", "architecture", "resolution", "macs", "params", "latency_ms", "printed", "counted"]
    assert list(about) == keys
    assert (about["space"], about["architecture"], about["resolution"]) == ("nas-bench-macro", text, 32)
    smaller = json.loads(told(["describe", text, "--resolution", "16", "--json"], monkeypatch, capsys))
    assert smaller["params"] == about["params"]
    assert smaller["macs"] < about["macs"]


def test_a_space_is_described(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    about = json.loads(told(["describe", "proxylessnas", "--json"], monkeypatch, capsys))
    assert (about["architecture"], about["size"], about["resolution"]) == (None, str(3 * 6**6 * 7**15), 224)
    assert len(about["choices"]) == 22
    assert about["macs"]["min"] < about["macs"]["max"]


@pytest.mark.parametrize("arguments", [["spaces"], ["methods"], ["describe", "nas-bench-macro"]])
def test_people_are_shown_tables(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(told(arguments, monkeypatch, capsys).splitlines()) > 3


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(["--version"], monkeypatch, capsys) == f"raynas {raynas.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["methods", "--json"]])
def test_what_needs_no_torch_and_no_ray_loads_neither(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom raynas.cli import main\nsys.argv[1:] = sys.argv[1:]\n"
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

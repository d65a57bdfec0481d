"""The rows of the benchmark, with few photos."""

from pathlib import Path

import pytest

from benchmarks.own_images.preparing import measure_all, write_photos


def test_equal_seeds_draw_equal_photos(tmp_path: Path) -> None:
    first, again, other = (
        write_photos(tmp_path / name, 11, seed)[-1].read_bytes() for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other


def test_all_rows_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = measure_all(tmp_path / "out", 120, 32, 0)
    assert [row[0] for row in rows] == ["bare loop", "first time", "again", "one photo changed"]
    assert float(rows[0][3]) == 1
    assert "120 photos of 500 x 375 pixels at 32 x 32" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()

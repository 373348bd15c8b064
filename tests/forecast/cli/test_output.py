from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from forecast.cli.output import cell_text, print_json, print_table, progress


def test_json_is_one_object_that_any_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "nan": float("nan"),
        "array": np.array([1.5, np.nan], dtype=np.float32),
        "count": np.int64(3),
        "day": date(2026, 11, 11),
        "path": Path("a"),
        "nested": {"flag": True, "none": None, "tuple": (1, "ü")},
    }
    print_json(values)
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "array": [1.5, None],
        "count": 3,
        "day": "2026-11-11",
        "path": "a",
        "nested": {"flag": True, "none": None, "tuple": [1, "ü"]},
    }


def test_json_refuses_what_it_cannot_say() -> None:
    with pytest.raises(TypeError, match="object"):
        print_json({"what": object()})


def test_a_table_in_a_pipe_is_not_cut_and_not_marked_up(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 150 + "[bold]"
    print_table(("name", "units"), [(long, 1_234_567), ("b", None)])
    text = capsys.readouterr().out
    assert long in text
    assert "1,234,567" in text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (True, "yes"),
        (1234, "1,234"),
        (0.123456, "0.1235"),
        (123456.7, "123,457"),
        ("a", "a"),
    ],
)
def test_cells_as_a_person_reads_them(cell: str | float | None, text: str) -> None:
    assert cell_text(cell) == text


def test_progress_is_silent_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("working", total=2) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")

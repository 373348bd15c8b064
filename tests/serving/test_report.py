"""What a planner sees of awkward names and numbers."""

from dataclasses import replace

import numpy as np
import pytest

from forecast.quantiles import LEVELS
from serving.client import EventSpan, Key, ModelFacts, SeriesForecast
from serving.fan import HEIGHT, draw_fan
from serving.picture import _keep_inside, save_fan
from serving.report import print_report

DAY = np.timedelta64(86_400, "s")


@pytest.fixture
def forecast():
    origin = np.datetime64("2026-11-01", "s")
    mean = np.linspace(1, 30, 20, dtype=np.float32)
    return SeriesForecast(
        key=Key("A [red]$x$_1$", "L", "P"),
        source=ModelFacts(model_version="1", snapshot="s", origin=origin, step=DAY),
        times=origin + np.arange(1, 21) * DAY,
        mean=mean,
        levels=np.array(LEVELS),
        quantiles=(mean[:, None] * 2 * np.array(LEVELS)).astype(np.float32),
        history_times=origin + np.arange(-39, 1) * DAY,
        history=np.full(40, 3, dtype=np.float32),
        events=(
            EventSpan(
                name="Singles' Day",
                kind="double-11",
                phase="day",
                start=np.datetime64("2026-11-11", "s"),
                end=np.datetime64("2026-11-12", "s"),
                intensity=1.0,
            ),
        ),
    )


def test_names_are_printed_as_they_are(forecast, capsys, tmp_path):
    print_report(forecast)
    assert "A [red]$x$_1$ at L on P" in capsys.readouterr().out
    assert save_fan(forecast, tmp_path / "fan.png")


def test_star_stands_over_the_events_day(forecast):
    lines = draw_fan(forecast, colour=False).plain.splitlines()
    star, origin = lines[0].index("★"), lines[1].index("┊")
    columns = (star - origin) // 10
    assert star - origin == 10 * columns
    assert "━" in {line[star] for line in lines[1 : HEIGHT + 1]}


@pytest.mark.parametrize("width", [20, 40, 70, 92])
def test_fan_keeps_to_the_width(forecast, width):
    lines = draw_fan(forecast, width=width, colour=False).plain.splitlines()
    assert max(len(line) for line in lines[1 : HEIGHT + 1]) <= max(width, 21) + 10


@pytest.mark.parametrize(
    "changes",
    [
        {"history": np.full(40, np.nan, dtype=np.float32)},
        {"history": np.zeros(0, dtype=np.float32), "history_times": np.zeros(0, dtype="datetime64[s]")},
        {"mean": np.zeros(20, dtype=np.float32), "quantiles": np.zeros((20, 17), dtype=np.float32)},
    ],
    ids=["all missing", "no history", "all zero"],
)
def test_thin_series_are_drawn(forecast, tmp_path, changes, capsys):
    thin = replace(forecast, **changes)
    print_report(thin)
    assert "┊" in capsys.readouterr().out
    save_fan(thin, tmp_path / "fan.png")
    assert (tmp_path / "fan.png").stat().st_size > 10_000


def named(start, end, phase="day", name="Back to school 2017"):
    start, end = np.datetime64(start, "s"), np.datetime64(end, "s")
    return EventSpan(name=name, kind="k", phase=phase, start=start, end=end, intensity=1.0)


def test_phases_have_the_words_of_the_calendars(forecast, capsys):
    days = [("pre-sale", "02"), ("warm-up", "04"), ("day", "11"), ("after", "13")]
    spans = [named(f"2026-11-{day}", f"2026-11-{int(day) + 1:02d}", phase, "Sale") for phase, day in days]
    print_report(replace(forecast, events=tuple(spans)))
    out = capsys.readouterr().out
    assert all(f"{words} Sale" in out for words in ("pre-sale", "warm-up", "★", "after"))
    assert "before Sale" not in out


def test_names_of_events_stay_inside_the_picture(forecast, tmp_path, monkeypatch):
    drawn = []

    def keep(figure, axes, names):
        _keep_inside(figure, axes, names)
        figure.draw_without_rendering()
        plot = axes.get_window_extent()
        drawn.extend((plot, name.get_window_extent()) for name in names)

    monkeypatch.setattr("serving.picture._keep_inside", keep)
    edges = (named("2026-09-01", "2026-09-25"), named("2026-11-21", "2026-11-30"))
    first = forecast.history_times[0]
    edges += (named(first - 20 * DAY, first + DAY),)
    save_fan(replace(forecast, events=(*edges, *forecast.events)), tmp_path / "fan.png")
    assert len(drawn) == 4
    for plot, name in drawn:
        assert plot.x0 - 0.5 <= name.x0
        assert name.x1 <= plot.x1 + 0.5

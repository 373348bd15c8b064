"""A line chart as inline SVG: sharp at any size, without a script, readable by a screen reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final

WIDTH: Final = 860
HEIGHT: Final = 260
LEFT: Final = 46
RIGHT: Final = 18
TOP: Final = 14
BOTTOM: Final = 34
FEWEST_TICKS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a line. filled: drawn solid, with `note` shown on hovering."""

    at: datetime
    value: float
    note: str
    filled: bool = True


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named line through its points."""

    name: str
    colour: str
    points: Sequence[Point]
    dashed: bool = False


def line_chart(lines: Sequence[Line], *, title: str) -> str:
    """An SVG of lines over days, from 0 up, with a legend below it; empty where there is no point."""
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    first, last = min(one.at for one in points), max(one.at for one in points)
    if last - first < timedelta(days=2):
        first, last = first - timedelta(days=1), last + timedelta(days=1)
    top = _ceiling(max(one.value for one in points))
    span_s = (last - first).total_seconds()

    def x(at: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - first).total_seconds() / span_s

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for i in range(5):
        value = top * i / 4
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="tick" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        )
    for i in range(5):
        at = first + (last - first) * i / 4
        anchor = ("start", "middle", "middle", "middle", "end")[i]
        parts.append(
            f'<text class="tick" x="{x(at):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
            f"{at:%Y-%m-%d}</text>"
        )
    for line in lines:
        ordered = sorted(line.points, key=lambda one: one.at)
        path = " ".join(f"{x(one.at):.1f},{y(one.value):.1f}" for one in ordered)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>')
        for one in ordered:
            fill = line.colour if one.filled else "#fff"
            parts.append(
                f'<circle cx="{x(one.at):.1f}" cy="{y(one.value):.1f}" r="4.2" fill="{fill}"'
                f' stroke="{line.colour}" stroke-width="1.6"><title>{escape(one.note)}</title></circle>'
            )
    parts.append("</svg>")
    keys = "".join(
        f'<span><i style="background:{line.colour}"></i>{escape(line.name)}</span>'
        for line in lines
        if line.points
    )
    return "".join(parts) + f'<p class="legend">{keys}</p>'


def _ceiling(value: float) -> float:
    """A round number a little above."""
    if value <= 0:
        return 1.0
    step = 10.0 ** len(str(int(1 / value))) if value < 1 else 1.0
    while value * step < FEWEST_TICKS:
        step *= 10
    return -(-value * step * 1.05 // 1) / step

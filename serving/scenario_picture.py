"""What a what-if changes, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from serving.client import ScenarioForecast
from serving.picture_style import GREY, INK, RED, days, draw_bands, save_picture, style_time
from serving.report import about_source


def save_scenario(pair: ScenarioForecast, path: Path) -> bool:
    """Write a PNG of the forecast as things are, in grey, and of the changed one; InputError when that cannot
    be.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    return save_picture(lambda figure: _draw(figure, pair), path, (11, 5.2))


def _draw(figure: Figure, pair: ScenarioForecast) -> None:
    before, after = pair.baseline, pair.changed
    axes = figure.add_subplot()
    style_time(axes)
    times = days(after.times)
    low, high = before.quantile(0.1), before.quantile(0.9)
    axes.fill_between(times, low, high, color=GREY, alpha=0.25, linewidth=0, label="80 % band as things are")
    axes.plot(times, before.mean, color=GREY, linewidth=1.8, label="mean as things are")
    draw_bands(axes, after.times, after.quantile)
    axes.plot(times, after.mean, color=RED, linewidth=1.8, linestyle=(0, (3, 1.5)), label="mean, changed")
    highest = np.concatenate([high, after.quantile(0.975), before.mean, after.mean])
    axes.set_ylim(0, 1.08 * float(np.nanmax(highest, initial=0.0)) or 1.0)
    key = after.key
    name = f"{key.item} · {key.location} · {key.platform}"
    axes.set_title(f"What if: {name}", loc="left", fontsize=14, color=INK, pad=24, weight="bold")
    total, was = float(after.mean.sum()), float(before.mean.sum())
    about = f"units per period: {was:,.4g} in all as things are, {total:,.4g} changed"
    axes.text(
        0,
        1.03,
        f"{about}     {about_source(after.source)}",
        transform=axes.transAxes,
        fontsize=9,
        color=GREY,
    )
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.08), ncols=6, frameon=False, fontsize=8.5, labelcolor=INK
    )

"""How a benchmark prints what it measured."""

from __future__ import annotations

from collections.abc import Mapping

from forecast.bench.machine import machine
from forecast.cli.output import print_json, print_table


def print_results(
    name: str, results: Mapping[str, float], *, as_json: bool, setup: Mapping[str, object] | None = None
) -> None:
    """One JSON object, or a table in which NAME_spread stands beside NAME.

    setup: how the machine was used, printed with it.
    """
    if as_json:
        print_json({"bench": name, "machine": machine() | dict(setup or {}), "results": results})
        return
    rows: list[tuple[str, float, float | None]] = [
        (metric, value, results.get(f"{metric}_spread"))
        for metric, value in results.items()
        if not metric.endswith("_spread")
    ]
    print_table(("metric", "median or value", "spread (IQR / median)"), rows, title=name)

"""`surgecast overview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import NotFoundError, UsageError
from forecast.home import Home


def overview(
    home: HomeOption = DEFAULT_HOME,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", dir_okay=False, help="Write the page to a file too.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of `surgecast mlflow`, for the page's links.")
    ] = 5000,
    as_json: JsonOption = False,
) -> None:
    """Write a page that tells which model serves, how good it is and what the last jobs did."""
    from forecast.cli.output import print_json, say
    from training import story
    from training.files import check_output

    place = Home(home)
    if not place.mlflow_db.is_file():
        raise NotFoundError(
            "runs", expected=f"{place.mlflow_db}; `surgecast train` makes it", found="none yet"
        )
    if out is not None:
        if out.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"--out: expected a file name ending in .html, found {out}")
        check_output(out)
    address = f"http://127.0.0.1:{port}"
    run_id = story.log_overview(place, address=address)
    if out is not None:
        out.write_text(story.overview(place, address=address), encoding="utf-8")
        say(f"wrote {out}")
    if as_json:
        print_json({"run": run_id, "file": out})
        return
    typer.echo(f"overview.html of run {run_id}; `surgecast mlflow --port {port}` shows it")

"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_HOME: Final = Path("surgecast-home")

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="SURGECAST_HOME",
        help="Folder that holds everything of this installation.",
        file_okay=False,
    ),
]
"""Use as `home: HomeOption = DEFAULT_HOME`."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
"""Use as `as_json: JsonOption = False`."""

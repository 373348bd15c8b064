"""`surgecast settings`: look at and set up an installation's settings."""

from __future__ import annotations

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import BusyError
from forecast.home import Home

settings = typer.Typer(
    help="Show the settings in force, or write a commented surgecast.toml.", no_args_is_help=True
)


@settings.command()
def show(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Print every setting, its value and where the value comes from."""
    from forecast.cli.output import plain, print_json, print_table
    from forecast.settings import describe_settings

    rows = describe_settings(Home(home))
    if as_json:
        found = {row.name: {"value": plain(row.value), "source": row.source} for row in rows}
        print_json({"file": str(Home(home).settings_file), "settings": found})
        return
    cells = [(row.name, _text(row.value), row.source, row.description) for row in rows]
    print_table(("setting", "value", "from", "meaning"), cells)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "(none)" if isinstance(value, tuple) else str(value)


@settings.command()
def init(home: HomeOption = DEFAULT_HOME) -> None:
    """Write surgecast.toml with every setting explained; an existing file is never overwritten."""
    from forecast.cli.output import say
    from forecast.settings import default_file

    path = Home(home).settings_file
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(default_file())
    except FileExistsError as error:
        raise BusyError(str(path), expected="no such file yet", found="one that is left as it is") from error
    say(f"wrote {path}")

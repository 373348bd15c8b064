"""`surgecast tokens`: who may ask the server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from forecast.home import Home

tokens = typer.Typer(
    help="Make, list and revoke the tokens of those who may ask the server. A running server notices.",
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(help="Who holds it: a person or a system.")]


@tokens.command()
def add(
    name: NameArgument,
    role: Annotated[
        str, typer.Option(help="planner, ingest (which may call nothing yet) or admin.")
    ] = "planner",
    expires: Annotated[
        str, typer.Option(metavar="90d", help="Hours (12h), days (90d) or weeks (8w) from now, or never.")
    ] = "90d",
    rate: Annotated[
        float, typer.Option(help="Calls per second, over a while, at each worker process of a server.")
    ] = 100.0,
    concurrency: Annotated[int, typer.Option(help="Calls at once, at each worker process.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once: it is kept as a hash only."""
    from forecast.cli.output import print_json, say
    from serving.access.audit import Audit
    from serving.access.tokens import ROLES, add_token

    known = next((one for one in ROLES if one == role), None)
    if known is None:
        raise UsageError(f"--role: expected one of {', '.join(ROLES)}, found {role!r}")
    end = _end(expires)
    Home(home).root.mkdir(parents=True, exist_ok=True)
    about: dict[str, object] = {
        "name": name,
        "role": role,
        "expires": end.isoformat(timespec="seconds") if end else None,
    }
    limits: dict[str, object] = {"rate": rate, "concurrency": concurrency}
    token, text = add_token(Home(home), name, role=known, expires=end, rate=rate, concurrency=concurrency)
    Audit(Home(home)).append(_command("tokens add", {"id": token.id} | about | limits))
    if as_json:
        print_json(about | limits | {"token": text})
        return
    typer.echo(text)
    say(f"{name} may send it as 'authorization: Bearer …' until {token.expires or 'it is revoked'};")
    say("it is shown this once")


@tokens.command("list")
def list_tokens(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the tokens, without what their holders send."""
    from forecast.cli.output import print_json, print_table, say
    from serving.access.tokens import read_tokens

    now = datetime.now(UTC)
    columns = ("name", "role", "created", "expires", "rate", "concurrency", "valid")
    rows = [
        (t.name, t.role, t.created, t.expires or "never", t.rate, t.concurrency, not t.expired(now))
        for t in read_tokens(Home(home))
    ]
    if as_json:
        print_json({"tokens": [dict(zip(columns, row, strict=True)) for row in rows]})
    elif rows:
        print_table(columns, rows)
    else:
        say("no token: surgecast tokens add makes one")


@tokens.command()
def revoke(name: NameArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Take a token away: a running server refuses it within a second."""
    from forecast.cli.output import say
    from serving.access.audit import Audit
    from serving.access.tokens import read_tokens, revoke_token

    place = Home(home)
    token = revoke_token(place, name)
    Audit(place).append(_command("tokens revoke", {"id": token.id, "name": name, "role": token.role}))
    say(f"revoked {name}")
    if not read_tokens(place):
        say(
            "it was the last: nobody may ask until `surgecast tokens add` makes one; a server that starts"
            f" without {place.tokens_file} asks for none"
        )


def _end(text: str) -> datetime | None:
    if text == "never":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text)
    if found is None:
        raise UsageError(f"--expires: expected a time such as 12h, 90d or 8w, or never, found {text!r}")
    return datetime.now(UTC) + int(found[1]) * timedelta(hours={"h": 1, "d": 24, "w": 168}[found[2]])


def _command(what: str, about: dict[str, object]) -> dict[str, object]:
    import getpass

    return (
        {"who": getpass.getuser(), "role": "local", "from": "command line", "what": what}
        | about
        | {"outcome": "done"}
    )

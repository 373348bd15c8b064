"""Options that the asking commands share, and what they mean."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.errors import InputError, UsageError
from forecast.home import Home

if TYPE_CHECKING:
    from forecast.serve_settings import ServeSettings
    from serving.client import Client, SeriesFilter


def _quiet_grpc(address: str | None) -> str | None:
    """Keep gRPC, which is imported later, from writing lines of its own beside our errors."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return address


PANEL = "Connection"
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        callback=_quiet_grpc,
        metavar="HOST:PORT",
        help="Server to ask; the one of this home's settings by default.",
        rich_help_panel=PANEL,
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        callback=_quiet_grpc,
        metavar="HOST:PORT",
        help="Server that does it; without, it is done in the home, be a server running or not.",
        rich_help_panel=PANEL,
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="File that holds your token; SURGECAST_TOKEN holds one, too.",
        rich_help_panel=PANEL,
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, help="PEM file of the authorities that vouch for the server.", rich_help_panel=PANEL
    ),
]
CertOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="PEM file of your certificate, where the server asks for one.",
        rich_help_panel=PANEL,
    ),
]
KeyOption = Annotated[
    Path | None, typer.Option(dir_okay=False, help="PEM file of its key.", rich_help_panel=PANEL)
]
InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Ask another machine without encryption; it reads your token, too.",
        rich_help_panel=PANEL,
    ),
]

ItemOption = Annotated[str, typer.Option(help="Only this item.")]
LocationOption = Annotated[str, typer.Option(help="Only this location.")]
PlatformOption = Annotated[str, typer.Option(help="Only this platform.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL=VALUE",
        help="Only series with this static label, such as category=food; may be given several times:"
        " values of one label widen, labels narrow.",
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Group by item, location, platform or a static label; may be given several times.",
    ),
]
FromOption = Annotated[
    datetime | None,
    typer.Option("--from", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="First day (of the horizon)."),
]
ToOption = Annotated[
    datetime | None,
    typer.Option("--to", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Last day (of the horizon)."),
]
PngOption = Annotated[Path | None, typer.Option(dir_okay=False, help="Write a picture too.")]


def connect(
    home: Path,
    address: str | None,
    token_file: Path | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    *,
    insecure: bool,
) -> Client:
    """A client for the server that the options name; what they leave open comes from the settings."""
    from forecast.settings import load_settings
    from serving.client import Client

    settings = load_settings(Home(home))
    own = settings.client
    with_tls = ca is not None or cert is not None
    return Client(
        address or own.address or _served(settings.serve),
        timeout_s=own.timeout_s,
        token=_token(token_file or _in_home(home, own.token_file)),
        ca=ca or _in_home(home, "" if insecure else own.ca),
        cert=cert or _in_home(home, "" if insecure else own.cert),
        key=key or _in_home(home, "" if insecure else own.key),
        insecure=insecure or (own.insecure and not with_tls),
    )


def series_filter(item: str, location: str, platform: str, where: list[str] | None) -> SeriesFilter:
    """The series that the options name."""
    from serving.client import SeriesFilter

    labels: dict[str, list[str]] = {}
    for text in where or ():
        name, value = pair("--where", text, "LABEL=VALUE")
        labels.setdefault(name, []).append(value)
    return SeriesFilter(item=item, location=location, platform=platform, labels=labels)


def pair(flag: str, text: str, form: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{flag}: expected {form}, found {text!r}")
    return name, value


def number(flag: str, text: str) -> float:
    """A finite number."""
    import math

    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{flag}: expected a number, found {text!r}")
    return value


def day_range(start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """From the start of the first day to the end of the last one."""
    from datetime import timedelta

    if start is not None and end is not None and end < start:
        raise UsageError(f"--to: expected {start:%Y-%m-%d} or later, found {end:%Y-%m-%d}")
    return start, end + timedelta(days=1) if end is not None else None


def check_png(png: Path | None) -> None:
    """UsageError for a picture whose name is not that of one."""
    if png is not None and png.suffix.lower() != ".png":
        raise UsageError(f"--png: expected a file name ending in .png, found {png}")


def tell_picture(png: Path, *, complete: bool) -> None:
    """Say where a picture lies, and whether all of its characters could be drawn."""
    from forecast.cli.output import say

    if not complete:
        say("no installed font has every character of the picture (Noto Sans CJK has the Chinese ones)")
    say(f"wrote {png}")


def _served(settings: ServeSettings) -> str:
    """Where a server of these settings is reached from its own machine."""
    from serving.addresses import join_address

    host = settings.host.strip("[]")
    return join_address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), settings.port)


def _in_home(home: Path, name: str) -> Path | None:
    return home / name if name else None


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), expected="a readable file with a token", found=found) from error
    if not token:
        raise InputError(str(path), expected="a readable file with a token", found="an empty one")
    return token

"""`surgecast what-if` and `surgecast new-series`: questions that the live model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from serving.commands.options import (
    AddressOption,
    CaOption,
    CertOption,
    InsecureOption,
    KeyOption,
    PngOption,
    TokenFileOption,
    check_png,
    connect,
    number,
    pair,
    tell_picture,
)

if TYPE_CHECKING:
    from datetime import date

    from serving.client import Change, FeatureChange

HorizonOption = Annotated[
    int | None, typer.Option(min=1, max=1_000_000, help="Periods ahead; as many as the model can by default.")
]
_PLAN = "NAME=VALUE[@DAY[..DAY]]"


def what_if(
    item: Annotated[str, typer.Option(help="The item (SKU).")],
    location: Annotated[str, typer.Option(help="The store or warehouse.")],
    platform: Annotated[str, typer.Option(help="The sales channel.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar=_PLAN, help="Set a feature: price=3.5@2026-11-09..2026-11-11, or without days."
        ),
    ] = None,
    multiply: Annotated[
        list[str] | None, typer.Option(metavar=_PLAN, help="Multiply a feature: price=0.8, after --set.")
    ] = None,
    move: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=DAYS", help="Move an event: double-11=+2 or double-11=-1."),
    ] = None,
    strength: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=TIMES", help="Multiply an event's strength: double-11=1.5; 0 takes it away."
        ),
    ] = None,
    horizon: HorizonOption = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    png: PngOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask what changes for a series if a price, a discount or an event were different."""
    from forecast.cli.output import print_json
    from serving.scenario_report import print_scenario, scenario_dict

    check_png(png)
    changes = _changes(set_ or [], multiply or [], move or [], strength or [])
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        (answer,) = client.simulate([(item, location, platform)], changes, horizon=horizon)
    if png is not None:
        from serving.scenario_picture import save_scenario

        complete = save_scenario(answer, png)
    if as_json:
        print_json(scenario_dict(answer))
    else:
        print_scenario(answer)
    if png is not None:
        tell_picture(png, complete=complete)


def new_series(
    item: Annotated[str, typer.Option(help="The item (SKU), new or known.")],
    location: Annotated[str, typer.Option(help="The store or warehouse, new or known.")],
    platform: Annotated[str, typer.Option(help="The sales channel.")],
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A static label, such as category=food; several times."),
    ] = None,
    plan: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE[,VALUE…]",
            help="What is known ahead, such as price=4.5: one value, or one for each period; several times.",
        ),
    ] = None,
    horizon: HorizonOption = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    png: PngOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask for the forecast of an item or a shop without history, from what it is."""
    from forecast.cli.output import print_json
    from serving.report import as_dict, print_report

    check_png(png)
    labels = dict(pair("--label", text, "NAME=VALUE") for text in label or ())
    plans = {}
    for text in plan or ():
        name, values = pair("--plan", text, "NAME=VALUE[,VALUE…]")
        plans[name] = [number("--plan", value) for value in values.split(",")]
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        forecast = client.new_series(
            item=item, location=location, platform=platform, labels=labels, plan=plans, horizon=horizon
        )
    if png is not None:
        from serving.picture import save_fan

        complete = save_fan(forecast, png)
    if as_json:
        print_json(as_dict(forecast))
    else:
        print_report(forecast)
    if png is not None:
        tell_picture(png, complete=complete)


def _changes(sets: list[str], multiplies: list[str], moves: list[str], strengths: list[str]) -> list[Change]:
    """The differences that the options name: features first, then events."""
    from serving.client import EventChange

    changes: list[Change] = [_feature("--set", text) for text in sets]
    changes += [_feature("--multiply", text) for text in multiplies]
    for text in moves:
        kind, days = pair("--move", text, "KIND=DAYS")
        count = number("--move", days)
        if count != int(count) or abs(count) > 60:
            raise UsageError(f"--move: expected -60..60 whole days, found {days!r}")
        changes.append(EventChange(kind=kind, move_days=int(count)))
    for text in strengths:
        kind, times = pair("--strength", text, "KIND=TIMES")
        changes.append(EventChange(kind=kind, multiply_intensity=number("--strength", times)))
    if not changes:
        raise UsageError("what-if: expected --set, --multiply, --move or --strength, found none")
    return changes


def _feature(flag: str, text: str) -> FeatureChange:
    """A change of a feature: NAME=VALUE, with the days from @ on."""
    from datetime import timedelta

    from serving.client import FeatureChange

    name, rest = pair(flag, text, _PLAN)
    value_text, at, days = rest.partition("@")
    first, dots, last = days.partition("..")
    start = _day(flag, first) if at else None
    end = _day(flag, last) if dots else start
    if start is not None and end is not None and end < start:
        raise UsageError(f"{flag}: expected a last day from {start} on, found {end}")
    value = number(flag, value_text)
    return FeatureChange(
        name=name,
        set=value if flag == "--set" else None,
        multiply=value if flag == "--multiply" else None,
        start=start,
        end=end + timedelta(days=1) if end is not None else None,
    )


def _day(flag: str, text: str) -> date:
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{flag}: expected a day such as 2026-11-09, found {text!r}") from error

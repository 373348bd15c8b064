"""`surgecast models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from forecast.home import Home

if TYPE_CHECKING:
    from training.models.comparing import Compared
    from training.models.listing import Shown

models = typer.Typer(
    help="List, compare, promote and roll back versions of the model, and clear old ones away.",
    no_args_is_help=True,
)
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="Number, alias, or the beginning of the bundle's id.")
]
CutoffOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Last period whose demand is used, as 2024-06-18; the store's last."),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to compute; auto takes a GPU.")
]


@models.command("list")
def list_(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Print all versions, the newest first, with their aliases, scores and what serves."""
    from dataclasses import asdict

    from forecast.cli.output import print_json, print_table, say
    from training.models.listing import COLUMNS, lines, troubles

    place = Home(home)
    found, inventory = lines(place)
    wrong = troubles(place, inventory)
    if as_json:
        print_json(
            {
                "versions": [asdict(one) for one in found],
                "bundles_without_version": inventory.without_version,
                "aliases_of_deleted_versions": inventory.dangling,
                "troubles": wrong,
            }
        )
        return
    if found:
        print_table(COLUMNS, [one.cells() for one in found])
    else:
        typer.echo(f"no version yet in {place.root}; `surgecast train` makes one")
    if inventory.without_version:
        typer.echo(f"bundles without a version: {', '.join(inventory.without_version)}")
    for sentence in wrong:
        say(f"warning: {sentence}")


@models.command()
def show(
    version: VersionArgument,
    home: HomeOption = DEFAULT_HOME,
    card: Annotated[bool, typer.Option("--card", help="Print the model card alone, in Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a version's facts, scores by segment, what the promotion gate found, and why it was promoted."""
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from forecast.errors import NotFoundError
    from training.models.listing import show as look

    found = look(Home(home), version)
    if as_json:
        print_json(asdict(found))
        return
    if card and not found.card:
        raise NotFoundError("model card", expected=f"one in the run of version {version}", found="none")
    if card:
        typer.echo(found.card)
        return
    _print_shown(found)


@models.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A version, as for `show`.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    home: HomeOption = DEFAULT_HOME,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Backtest both now; for differences with intervals.")
    ] = False,
    origins: Annotated[int, typer.Option(min=1, help="Past origins, with --backtest.")] = 4,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Periods between origins; a quarter of the horizon.")
    ] = None,
    cutoff: CutoffOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold one version against another: facts, settings, and how well they forecast."""
    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from training.models.comparing import Wanted, compare_versions, compared_json
    from training.options import parse_cutoff

    place = Home(home)
    settings = load_settings(place, {"training.device": device}).training
    until = parse_cutoff(cutoff)
    if not backtest and (cutoff is not None or stride is not None):
        raise UsageError("--cutoff, --stride: expected --backtest beside them, found none")
    wanted = Wanted(
        origins=origins,
        stride=stride,
        cutoff=until,
        device=settings.device,
        devices=settings.number_of_devices,
    )
    found = compare_versions(place, first, second, wanted if backtest else None)
    if as_json:
        print_json(compared_json(found))
        return
    _print_compared(found)


@models.command()
def promote(
    version: VersionArgument,
    reason: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Why; needed where the promotion gate kept it back, and stored."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    cutoff: CutoffOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a version's forecasts and make it the champion, whatever served before."""
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from training.models.promoting import promote_version
    from training.options import parse_cutoff

    place = Home(home)
    settings = load_settings(place, {"training.device": device}).training
    done = promote_version(
        place,
        version,
        reason=reason,
        cutoff=parse_cutoff(cutoff),
        device=settings.device,
        devices=settings.number_of_devices,
    )
    if as_json:
        print_json(asdict(done))
    elif done.changed:
        instead = f" instead of version {done.before}" if done.before not in ("", done.version) else ""
        typer.echo(f"version {done.version} is the champion{instead}; servers serve {done.snapshot}")
    else:
        typer.echo(f"version {done.version} is the champion already and serves as {done.snapshot}")


@models.command()
def rollback(
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the record.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Go back to the champion before this one and its newest snapshot; servers follow within a second."""
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from training.models.promoting import roll_back_version

    done = roll_back_version(Home(home), reason=reason)
    if as_json:
        print_json(asdict(done))
    else:
        instead = f" instead of version {done.before}" if done.changed else " still"
        typer.echo(f"version {done.version} is the champion{instead}; servers serve {done.snapshot}")


@models.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Newest versions, and newest snapshots, that stay.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Remove old versions, bundles of no version and old snapshots; never what serves or is needed."""
    from dataclasses import asdict

    from forecast.cli.output import print_json, say
    from training.models.pruning import prune as clear

    gone = clear(Home(home), keep=keep, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(gone)})
        return
    verb = "would go" if dry_run else "gone"
    for name, ids in (("versions", gone.versions), ("bundles", gone.bundles), ("snapshots", gone.snapshots)):
        typer.echo(f"{name} {verb}: {', '.join(ids) or 'none'}")
    if gone.unscored:
        say(f"of these `surgecast monitor` has not scored all that they forecast: {', '.join(gone.unscored)}")
    why = "; ".join(f"{version} ({reason})" for version, reason in gone.kept.items())
    typer.echo(f"versions that stay: {why or 'none'}")
    typer.echo(f"{gone.bytes / 1e6:,.1f} MB {'would be ' if dry_run else ''}freed")


def _print_shown(found: Shown) -> None:
    from forecast.cli.output import print_table
    from training.models.listing import SCORES

    print_table(("fact", "value"), found.fact_rows())
    if rows := found.score_rows():
        print_table(SCORES, rows, title="Backtest")
    if found.findings:
        cells = [
            (
                "yes" if one.passed else ("no" if one.blocks else "warning"),
                one.check,
                one.subject,
                one.expected,
                one.found,
            )
            for one in found.findings
        ]
        print_table(("holds", "check", "subject", "expected", "found"), cells, title="Promotion gate")
    if found.card:
        typer.echo("its model card: --card")


def _print_compared(found: Compared) -> None:
    from forecast.cli.output import print_table
    from forecast.evaluation.backtest_table import print_comparisons

    heads = (f"version {found.first.version}", f"version {found.second.version}")
    for name, values in (("fact", found.facts), ("setting", found.settings)):
        if values:
            print_table((name, *heads), [(key, *both) for key, both in values.items()])
    if found.stored:
        rows = [
            (one.where, round(one.first, 4), round(one.second, 4), f"{100 * one.share:+.1f} %")
            for one in found.stored
        ]
        title = f"WQL, {len(found.origins)} origins"
        print_table(("slice", *heads, "difference"), rows, title=title)
    if found.computed:
        print_comparisons(found.computed)
    if found.costs:
        cells = [
            (head, round(one.seconds_per_1000_series, 3), round(one.bundle_bytes / 1e6, 3))
            for head, one in zip(heads, found.costs, strict=True)
        ]
        print_table(("cost", "s for 1,000 series", "MB"), cells)
    typer.echo(found.verdict)

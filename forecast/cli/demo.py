"""`surgecast demo`: the whole way from order lines to a planner's answers.

It runs the commands that a user would type, as processes, so that what it shows is what a user gets.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forecast.cli.processes import ended_by_signals, first_object, started
from forecast.errors import BusyError, SurgecastError, UsageError
from forecast.home import Home

if TYPE_CHECKING:
    from forecast.cli.demo_plan import Step

SLICES = ("all", "fast", "slow", "intermittent", "peak")
STEPS = 11
WIDTH = 100


class StepError(SurgecastError):
    """A step of the demo failed; the demo ends with the step's exit status."""

    def __init__(self, command: str, status: int) -> None:
        super().__init__(f"step: expected exit status 0, found {status} from: {command}")
        self.exit_status = status if status > 0 else 128 - status


def demo(
    data: Annotated[
        Literal["completejourney", "m5", "freshretail", "online-retail"],
        typer.Option(help="Data to run on; all but the first lie in a folder that DIR names."),
    ] = "completejourney",
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder of the data set.", file_okay=False)
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Home to use, empty or of an earlier demo; a new one in the temporary folder by default.",
            file_okay=False,
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of training.")] = None,
) -> None:
    """Go the whole way on real orders: import, train, publish, serve and answer a planner over gRPC."""
    from forecast.cli.demo_plan import DEMOS

    if DEMOS[data].needs_folder != (folder is not None):
        found = "none" if folder is None else str(folder)
        raise UsageError(
            f"DIR: expected {'the folder of' if folder is None else 'no folder for'} {data}, found {found}"
        )
    if minutes is not None and not minutes > 0:
        raise UsageError(f"--minutes: expected more than 0, found {minutes}")
    home = _home(keep, data)
    with ended_by_signals():
        _Walk(data, home, minutes).run(folder)


def _home(keep: Path | None, data: str) -> Home:
    """The demo's home, with its settings in it."""
    import tempfile

    from forecast.cli.demo_plan import DEMOS

    home = Home(keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="surgecast-demo-")))
    home.root.mkdir(parents=True, exist_ok=True)
    text = DEMOS[data].settings
    if not home.settings_file.exists() and not any(home.root.iterdir()):
        home.settings_file.write_text(text, encoding="utf-8")
    elif not home.settings_file.is_file() or home.settings_file.read_text(encoding="utf-8") != text:
        expected = f"an empty folder or one of an earlier demo of {data}"
        raise BusyError("--keep", expected=expected, found=f"something else in {home.root}")
    return home


class _Walk:
    """The steps, one after the other, each announced with its command."""

    def __init__(self, data: str, home: Home, minutes: float | None) -> None:
        from forecast.cli.demo_plan import DEMOS

        self.data, self.home = data, home
        self.about = DEMOS[data]
        self.minutes = minutes
        self.pictures = home.root / "pictures"
        self.done = 0

    def run(self, folder: Path | None) -> None:
        """All of it."""
        from forecast.cli.demo_plan import import_steps, publish_step, serve_step, train_step

        typer.echo(f"\n{fill(self.about.about, WIDTH)}\n\nHome of this demo: {self.home.root}")
        typer.echo(f"Its settings, {self.home.settings_file.name}:\n\n{_indented(self.about.settings)}")
        for step in import_steps(self.data, self.home.root, folder):
            self.step(step)
        self.report(json.loads(self.step(train_step(self.data, self.home.root, self.minutes), read=True)))
        self.step(publish_step(self.data, self.home.root))
        with self.server(serve_step(self.home.root)) as address:
            self.ask(address)
        self.farewell()

    def ask(self, address: str) -> None:
        """The planner's questions."""
        from forecast.cli.demo_plan import list_step, questions

        self.pictures.mkdir(exist_ok=True)
        volume, surge = (
            json.loads(self.step(list_step(self.data, address, order), read=True))["series"]
            for order in ("volume", "surge")
        )
        for question in questions(volume, surge):
            self.step(question.step(address, self.pictures))

    def announce(self, step: Step) -> list[str]:
        """Say what comes; returns the command to run."""
        self.done += 1
        typer.secho("\n" + fill(f"[{self.done}/{STEPS}] {step.what}", WIDTH), bold=True)
        typer.secho(f"$ {shown(step.arguments)}", fg="cyan")
        sys.stdout.flush()
        return [sys.executable, "-m", "forecast.cli.main", *step.arguments]

    def step(self, step: Step, *, read: bool = False) -> str:
        """Run a command to its end; returns what it printed if `read`, else that is for the user's eyes."""
        command = self.announce(step)
        with started(command, stdout=subprocess.PIPE if read else None) as process:
            printed, _ = process.communicate()
        if process.returncode != 0:
            raise StepError(shown(step.arguments), process.returncode)
        return printed or ""

    @contextmanager
    def server(self, step: Step) -> Iterator[str]:
        """Serve while the context is open; yields HOST:PORT."""
        command = self.announce(step)
        log = self.home.root / "serve.log"
        with log.open("w") as errors, started(command, stdout=subprocess.PIPE, stderr=errors) as process:
            ready = first_object(process)
            if ready is None:
                status = process.wait()
                typer.echo(log.read_text(), err=True, nl=False)
                raise StepError(shown(step.arguments), status)
            typer.echo(
                f"serving {ready['snapshot']} on {ready['address']} (process {process.pid}, log {log})"
            )
            yield str(ready["address"])
        typer.echo("\nThe server was stopped.")

    def report(self, trained: Mapping[str, Any]) -> None:
        """The backtest as a table, and whether its bars are reached."""
        from forecast.cli.demo_plan import bars
        from forecast.cli.output import print_table

        backtest = trained["backtest"]
        names = {"wql": "WQL", "wape": "WAPE", "bias": "bias", "coverage_80": "80 %", "coverage_95": "95 %"}
        rows = [
            [row["slice"], row["forecaster"], row["n"], *(_rounded(row[name]) for name in names)]
            for row in backtest["table"]
            if row["slice"] in SLICES
        ]
        title = (
            f"Backtest: {backtest['series']:,} series, {len(backtest['origins'])} origins,"
            f" {backtest['horizon']} days ahead"
        )
        print_table(["slice", "forecaster", "periods", *names.values()], rows, title=title)
        for bar in bars([row for row in backtest["table"] if row["slice"] == "all"]):
            typer.echo(
                f"bar {'reached' if bar.met else 'MISSED'}: WQL at least {bar.wanted:.0%} under"
                f" {bar.baseline}; it is {abs(bar.found):.1%} {'under' if bar.found >= 0 else 'over'} it"
            )
        typer.echo("More slices, metrics and pictures are in MLflow.")
        typer.echo(f"bundle {trained['bundle']}, version {trained['version']}, is the champion")

    def farewell(self) -> None:
        """Where things lie and how to go on."""
        home = str(self.home.root)
        typer.secho("\nPictures of the three answers", bold=True)
        for picture in sorted(self.pictures.glob("*.png")):
            typer.echo(f"  {picture}")
        typer.secho("\nGo on with this home", bold=True)
        for what, arguments in (
            ("runs, pictures and model versions in the browser", ("mlflow", "--home", home)),
            ("serve again", ("serve", "--home", home)),
            ("and ask, in another terminal", ("series", "list", "--home", home, "--sort", "surge")),
            ("all commands", ("--help",)),
        ):
            typer.echo(f"  {shown(arguments)}    # {what}")
        typer.echo(f"\nNothing else was written; to remove it: rm -r {shlex.quote(home)}")


def shown(arguments: Sequence[str]) -> str:
    """A command as one types it here: with the path to the program where that is not on the PATH."""
    import shutil

    script = Path(sys.executable).with_name("surgecast")
    found = shutil.which("surgecast")
    program = "surgecast"
    if script.exists() and (found is None or Path(found).resolve() != script.resolve()):
        program = os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script)
    return shlex.join([program, *arguments])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())

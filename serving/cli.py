"""`surgecast serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.home import Home

if TYPE_CHECKING:
    from serving.server import Server


def serve(
    home: HomeOption = DEFAULT_HOME,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow an address that other machines reach, without TLS.")
    ] = False,
    no_tokens: Annotated[
        bool, typer.Option("--no-tokens", help="Allow such an address with TLS but without tokens.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve the published snapshot over gRPC until stopped, following each new publication."""
    import logging
    import sys

    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from serving.access.configure import access_config, bounds
    from serving.live.engine import LiveConfig
    from serving.server import ServerConfig, run

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings(Home(home)).serve
    config = ServerConfig(
        host=host if host is not None else settings.host,
        port=port if port is not None else settings.port,
        access=access_config(Home(home), settings, insecure=insecure, no_tokens=no_tokens),
        bounds=bounds(settings),
        live=LiveConfig(on=settings.live, device=settings.live_device, threads=settings.live_threads),
    )

    def ready(server: Server) -> None:
        snapshot = server.store.current.snapshot.manifest.id
        refused = server.store.refused
        if as_json:
            about = {"snapshot": snapshot, "address": server.address, "port": server.port}
            print_json(about | {"refused": refused.reason if refused else None})
        else:
            typer.echo(f"serving {snapshot} on {server.address}")
        sys.stdout.flush()

    raise typer.Exit(run(Home(home), config, ready))

"""`surgecast serve`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.home import Home

if TYPE_CHECKING:
    from serving.operation.state import Ready


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
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes that share the port.")] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port of the Prometheus metrics on 127.0.0.1; 0 for none."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="Lines of the log: text, or json for one object a line.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the published snapshot over gRPC until stopped, following each new publication."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when gRPC is imported; its lines are no JSON

    from forecast.settings import load_settings
    from serving.access.configure import access_config, bounds
    from serving.live.engine import LiveConfig
    from serving.operation.config import OperationConfig
    from serving.operation.single import serve_alone
    from serving.operation.supervisor import supervise
    from serving.server import ServerConfig

    flags = {"serve.workers": workers, "serve.metrics_port": metrics_port, "serve.log_format": log_format}
    settings = load_settings(Home(home), flags).serve
    config = ServerConfig(
        host=host if host is not None else settings.host,
        port=port if port is not None else settings.port,
        access=access_config(Home(home), settings, insecure=insecure, no_tokens=no_tokens),
        bounds=bounds(settings),
        live=LiveConfig(on=settings.live, device=settings.live_device, threads=settings.live_threads),
        trace_endpoint=settings.trace_endpoint,
    )
    operation = OperationConfig(
        workers=settings.workers, metrics_port=settings.metrics_port, log_format=settings.log_format
    )

    start = serve_alone if operation.workers == 1 else supervise
    raise typer.Exit(start(Home(home), config, operation, partial(_tell, as_json)))


def _tell(as_json: bool, ready: Ready) -> None:
    from dataclasses import asdict

    from forecast.cli.output import print_json

    if as_json:
        print_json(asdict(ready) | {"refused": ready.refused or None, "metrics": ready.metrics or None})
    else:
        typer.echo(f"serving {ready.snapshot} on {ready.address}")
    sys.stdout.flush()

"""`[serve]` of the settings: the gRPC server."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServeSettings(BaseModel):
    """`[serve]`: the gRPC server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=50051, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that share the port.")
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of the Prometheus metrics, on 127.0.0.1 alone (9464 is usual); 0 for none.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines of the server's log: text, or json for one object a line."
    )
    trace_endpoint: str = Field(
        default="",
        description="OTLP/gRPC address that a span of each call is sent to (needs the extra tracing), such as"
        " http://127.0.0.1:4317; empty for none.",
    )
    live: bool = Field(
        default=True,
        description="Answer what-ifs and new series by the model, which takes memory for the demand it read.",
    )
    live_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the live model computes; auto takes CUDA when it is there."
    )
    live_threads: int = Field(
        default=1, ge=1, le=256, description="Cores that the live model computes on, beside the reads."
    )
    tls_cert: str = Field(
        default="",
        description="PEM file of the server's certificate and chain; a path in the home, or absolute.",
    )
    tls_key: str = Field(default="", description="PEM file of its key, without a passphrase.")
    tls_client_ca: str = Field(
        default="",
        description="PEM file of the CA of callers' certificates; with it every caller must show one.",
    )
    max_quick_calls: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="Reads waiting or running; bursts may be eight times as large, more are told to retry.",
    )
    max_heavy_calls: int = Field(
        default=4, ge=1, le=1_000, description="The same of aggregates and lists of surges."
    )
    max_live_calls: int = Field(
        default=32, ge=1, le=1_000, description="Calls of the live model waiting or running."
    )
    max_streams: int = Field(default=4, ge=1, le=1_000, description="Exports at once.")
    max_seconds: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="A call ends after this many seconds at the latest.",
    )
    max_stream_seconds: float = Field(
        default=600.0, gt=0, allow_inf_nan=False, description="An export ends after this many seconds."
    )
    max_unsent_mb: int = Field(
        default=256, ge=1, description="MiB of answers that callers have not taken; beyond, calls must retry."
    )
    max_connections: int = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="Connections at once; one more is closed when it is made.",
    )

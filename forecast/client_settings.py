"""`[client]` of the settings: how commands reach a server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ClientSettings(BaseModel):
    """`[client]`: the server that commands ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(
        default="", description="HOST:PORT of the server to ask; that of [serve] when empty."
    )
    timeout_s: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="Seconds to wait for an answer."
    )
    ca: str = Field(
        default="",
        description="PEM file of the authorities that vouch for the server; a path in the home, or absolute."
        " Those of the system for another machine when empty.",
    )
    cert: str = Field(default="", description="PEM file of one's own certificate, where the server asks.")
    key: str = Field(default="", description="PEM file of its key.")
    token_file: str = Field(
        default="", description="File that holds one's token; SURGECAST_TOKEN holds one, too."
    )
    insecure: bool = Field(default=False, description="Ask another machine without encryption.")

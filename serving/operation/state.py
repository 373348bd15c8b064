"""What one process serves, as its supervisor and its metrics know it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from serving.store import SnapshotStore


@dataclass(frozen=True, kw_only=True)
class ServingState:
    """What a process serves and since when; times in seconds since 1970-01-01 00:00 UTC.

    refused_reason: why the published snapshot does not serve; empty when all is well.
    """

    pid: int
    snapshot: str
    bundle: str
    model_version: str
    create_seconds: int
    since_seconds: float
    refused_snapshot: str = ""
    refused_reason: str = ""

    @classmethod
    def of(cls, store: SnapshotStore) -> ServingState:
        """The state of this process; BusyError before the first load."""
        served, refused = store.current, store.refused
        facts = served.describe(refused)
        return cls(
            pid=os.getpid(),
            snapshot=facts.source.snapshot_id,
            bundle=facts.bundle_id,
            model_version=facts.source.model_version,
            create_seconds=facts.create_seconds,
            since_seconds=served.since,
            refused_snapshot=facts.refused.snapshot_id,
            refused_reason=facts.refused.reason,
        )

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A server that answers. metrics: their address, or empty. refused: as in `ServingState`."""

    address: str
    port: int
    snapshot: str
    refused: str
    workers: int
    metrics: str

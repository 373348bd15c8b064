"""What a retraining job is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from forecast.errors import UsageError
from forecast.settings import Settings
from forecast.snapshot.rollback import MAX_REASON

Result = Literal["promoted", "kept", "failed", "nothing"]


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """A job as somebody asked for it.

    settings: all that are in force. cutoff: last period whose demand may be seen; the store's last when None.
    promote_anyway: why the challenger becomes champion whatever the promotion gate says; empty: it does not.
    """

    settings: Settings
    cutoff: np.datetime64 | None = None
    promote_anyway: str = ""

    def __post_init__(self) -> None:
        why = self.promote_anyway
        if why and (not why.strip() or len(why) > MAX_REASON or not why.isprintable()):
            raise UsageError(f"reason: expected 1..{MAX_REASON} printable characters, found {why[:40]!a}")

    @property
    def horizon(self) -> int:
        """Periods ahead."""
        return self.settings.training.horizon

    @property
    def stride(self) -> int:
        """Periods between two origins of the backtest."""
        return self.settings.retrain.stride or max(self.horizon // 4, 1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a job.

    status: `promoted`, the challenger serves now; `kept`, the champion goes on serving; `failed`; `nothing`
    to do. reason: why, in one line. key: the job's, empty where none was begun. version, bundle_id, snapshot,
    run_id: of the challenger, empty where it did not get that far. gates: what the gates found. seconds: of
    each step that was done now.
    """

    status: Result
    reason: str
    key: str = ""
    cutoff: str = ""
    version: str = ""
    bundle_id: str = ""
    snapshot: str = ""
    run_id: str = ""
    gates: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

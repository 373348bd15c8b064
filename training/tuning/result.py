"""The best configuration as a file that `surgecast retrain --config` and surgecast.toml take."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState


def best_toml(study: optuna.Study, best: FrozenTrial, naive: float) -> str:
    """The text of the file."""
    first = study.trials[0]
    scored = first.value is not None and first.state == TrialState.COMPLETE
    before = f"{first.value:.4g}" if scored else "none"
    setting = study.user_attrs.get("setting", {})
    lines = [
        f"# Found by `surgecast tune`, study {study.study_name}: trial {best.number} of {len(study.trials)}.",
        f"# Backtest WQL {best.value:.4g} (the settings before: {before}, seasonal naive: {naive:.4g}), from",
        f"# {setting.get('origins', '?')} origins of the demand up to {setting.get('last day', '?')}.",
        "# Use: surgecast retrain --config THIS-FILE, or copy the lines into surgecast.toml.",
        "",
        "[training]",
        *(f"{name} = {value!r}" for name, value in best.params.items()),
    ]
    return "\n".join(lines) + "\n"


def write_best(path: Path, study: optuna.Study, best: FrozenTrial, naive: float) -> None:
    """Write the file; it appears whole."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(best_toml(study, best, naive), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

"""The story that a job leaves in MLflow for a person who browses: numbers, tables, pictures, cards."""

from training.story.backtests import log_backtest
from training.story.card import log_card, model_card
from training.story.fits import fit_metrics, log_fit
from training.story.gates import gate_markdown, log_gate
from training.story.summary import log_overview, overview, refresh_overview

__all__ = [
    "fit_metrics",
    "gate_markdown",
    "log_backtest",
    "log_card",
    "log_fit",
    "log_gate",
    "log_overview",
    "model_card",
    "overview",
    "refresh_overview",
]

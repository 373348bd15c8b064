"""Pictures of forecasts and their accuracy; each function returns a figure, drawn without a display."""

from forecast.evaluation.plots.accuracy import (
    plot_backtest,
    plot_error_by_level,
    plot_error_by_step,
    plot_loss,
)
from forecast.evaluation.plots.calibration import plot_calibration, plot_level_calibration
from forecast.evaluation.plots.drift import Drift, plot_drift
from forecast.evaluation.plots.rivals import plot_rivals
from forecast.evaluation.plots.series import example_series, plot_explanation, plot_fans
from forecast.evaluation.plots.surges import plot_surges

__all__ = [
    "Drift",
    "example_series",
    "plot_backtest",
    "plot_calibration",
    "plot_drift",
    "plot_error_by_level",
    "plot_error_by_step",
    "plot_explanation",
    "plot_fans",
    "plot_level_calibration",
    "plot_loss",
    "plot_rivals",
    "plot_surges",
]

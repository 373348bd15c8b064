"""The data gate: whether the demand in the store is fit to train on."""

from training.gates.data.check import check_data

__all__ = ["check_data"]

"""Training: Lightning, the data feed, MLflow tracking and registry."""

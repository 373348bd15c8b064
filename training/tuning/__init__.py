"""The search for a better configuration of the training."""

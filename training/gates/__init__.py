"""Gates: what must hold before a model is trained, and before it serves."""

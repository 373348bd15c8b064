"""`surgecast models`: look at versions of the model, compare them, decide which one serves, clear away."""

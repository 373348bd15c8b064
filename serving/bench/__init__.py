"""`surgecast bench serve`: how fast the service is, and how it bears swaps and too much load."""

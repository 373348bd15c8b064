"""Benchmarks of accuracy on public data, of speed and of memory, as `surgecast bench NAME`."""

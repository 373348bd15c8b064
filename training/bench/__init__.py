"""Benchmarks of accuracy on public data, as `surgecast bench NAME`."""

"""What the benchmarks of all rooms share: the machine, repeats, how results are printed."""

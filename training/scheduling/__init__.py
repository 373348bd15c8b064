"""When to retrain and to publish: the plan, the program that keeps to it, and its record."""

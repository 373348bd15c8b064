"""Operation: processes, their supervision, and what an operator sees of them."""

"""What is published: the format of a snapshot and the pointer to the one that serves."""

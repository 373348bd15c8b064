"""The commands of those who ask a server."""

"""Serving: the gRPC server of published snapshots, and its client."""

"""What each method of `surgecast.v1` answers. Bytes in, bytes out; our own errors; no gRPC here."""

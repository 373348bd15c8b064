"""The program surgecast, assembled from each room's commands."""

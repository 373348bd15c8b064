"""What a planner derives from the model and its scenarios."""

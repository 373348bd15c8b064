"""What a planner derives from scenarios."""

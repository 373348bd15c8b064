"""What a planner derives from scenarios: sums over groups and periods, surges and what drives them."""

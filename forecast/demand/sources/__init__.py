"""Where demand comes from: one module per source."""

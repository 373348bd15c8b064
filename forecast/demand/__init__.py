"""Where demand comes from and lives: sources, gate, store, events, panel."""

"""The temporal model: windows, network, heads, scenarios, bundle."""

"""The same forecasts behind other people's servers. Only this folder may import them."""

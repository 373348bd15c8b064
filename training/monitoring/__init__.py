"""Monitoring after deployment: published forecasts against what came true."""

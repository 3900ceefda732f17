"""Metrics as values, and the arithmetic behind them. No torch."""

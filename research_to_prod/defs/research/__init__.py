"""Candidates, trials and backtests in the graph."""

"""Strategies, candidates, backtests and the trial ledger: everything before a gate judges."""

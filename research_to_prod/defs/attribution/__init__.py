"""Slippage in the graph."""

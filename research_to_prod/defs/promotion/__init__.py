"""Promotion and the production manifest in the graph."""

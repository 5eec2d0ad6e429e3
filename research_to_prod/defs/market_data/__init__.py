"""Market data in the graph."""

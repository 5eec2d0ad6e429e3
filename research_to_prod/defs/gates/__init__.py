"""The gate report in the graph."""

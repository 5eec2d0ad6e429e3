"""The desk report and the warehouse in the graph."""

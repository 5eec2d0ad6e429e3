"""The desk's and the venue's records in the graph."""

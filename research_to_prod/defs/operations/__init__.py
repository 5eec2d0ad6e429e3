"""Reconciliation in the graph."""

"""Delivery: whoever must know does, at least once."""

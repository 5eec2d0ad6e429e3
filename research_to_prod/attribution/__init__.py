"""What trading cost, and what caused it."""

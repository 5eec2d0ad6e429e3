"""A simulated venue and a simulated desk, seeded, with documented truth."""

"""Market data: fetching it with proof, judging every bar, and measuring how complete a market is."""

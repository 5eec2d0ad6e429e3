"""What is promoted and why: decisions, the signed ledger, stages, and what may trade."""

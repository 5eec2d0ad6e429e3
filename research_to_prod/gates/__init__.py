"""Policy, statistics and verdicts: whether a candidate's evidence is good enough to promote."""

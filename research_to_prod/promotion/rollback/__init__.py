"""Deterministic rollback: when what trades is taken back, by rules whose false alarms are declared beforehand."""

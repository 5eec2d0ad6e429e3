"""Incidents: what fires becomes something that somebody must answer for."""

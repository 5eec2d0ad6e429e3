"""From research to live money through deterministic gates, and honest afterwards.

Plain Python rooms live beside this file and never import dagster; the graph over them lives in ``defs/``.
"""

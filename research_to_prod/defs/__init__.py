"""The graph: a thin Dagster skin over the rooms, one folder a room, in the order in which data flows.

An asset here reads, calls one domain function, writes, and returns metadata. Nothing here decides.
"""

import warnings

import dagster as dg

# Checks by partition are in preview in 1.13, mappings onto the day before in beta, both pinned with it; a warning for
# each would bury what matters.
for category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=category)

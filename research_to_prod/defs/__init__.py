"""The graph: a thin Dagster skin over the rooms, one folder a room, in the order in which data flows.

An asset here reads, calls one domain function, writes, and returns metadata. Nothing here decides.
"""

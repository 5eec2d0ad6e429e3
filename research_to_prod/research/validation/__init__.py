"""Validation studies: what a candidate's edge is worth out of sample, nearby, later, dearer and bigger; one a module.

Belongs here: splits, curves and tables of numbers. Doesn't: statistics of significance (``gates``), verdicts.
"""

"""The rules of the failure modes, by what they look at.

A rule looks at a `case.Case` whose named inputs are there, and returns a `case.Sight`. Its docstring is its definition;
its thresholds are those of the policy, by name.
"""

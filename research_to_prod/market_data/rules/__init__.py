"""The rules of data quality: small functions from one market's month to its findings, each with its definition.

A rule takes a :class:`~research_to_prod.market_data.rules.case.Case` and yields findings named after the function. Its
thresholds are those of the policy. ``examination.RULES`` lists them all.
"""

"""How assets are cut: months of market data, weeks of liquidity, days of trading, one partition a candidate."""

from __future__ import annotations

import os
from datetime import timedelta

import dagster as dg

from research_to_prod.market_data.universe import Universe
from research_to_prod.settings import Settings
from research_to_prod.values import month_bounds

UNIVERSE_FILE = "universe.yaml"

_universe = Universe.load(Settings.from_environment(os.environ).desk / UNIVERSE_FILE)

# The running month is a partition too: its bars are topped up while it runs.
MONTHS = dg.MonthlyPartitionsDefinition(start_date=_universe.first_month, fmt="%Y-%m", end_offset=1)
# The running week is a partition too: its profile is made as it begins. The first has the eight weeks that it looks
# back on within the months above.
_eight_weeks_on = month_bounds(_universe.first_month)[0] + timedelta(weeks=8)
WEEKS = dg.WeeklyPartitionsDefinition(start_date=_eight_weeks_on, day_offset=1, fmt="%Y-%m-%d", end_offset=1)
# What is counted over a week is counted when it is over.
PAST_WEEKS = dg.WeeklyPartitionsDefinition(start_date="2026-01-05", day_offset=1, fmt="%Y-%m-%d")
# A day is reconciled and attributed when it is over. The desk's records begin with 2026.
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")
CANDIDATES = dg.DynamicPartitionsDefinition(name="candidate")

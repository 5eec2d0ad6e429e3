"""The code location: one ``Definitions`` over the modules of ``defs/`` that declare parts of the graph.

The list is explicit because loading the folder would import every other module with it, and with them scipy and
cryptography: seconds in every code server and every step.
"""

import os

import dagster as dg

from research_to_prod.defs import automation
from research_to_prod.defs.attribution import assets as attribution_assets
from research_to_prod.defs.attribution import checks as attribution_checks
from research_to_prod.defs.code_references import with_code_references
from research_to_prod.defs.execution import assets as execution_assets
from research_to_prod.defs.execution import checks as execution_checks
from research_to_prod.defs.gates import assets as gate_assets
from research_to_prod.defs.gates import checks as gate_checks
from research_to_prod.defs.market_data import assets as market_data_assets
from research_to_prod.defs.market_data import liquidity as liquidity_assets
from research_to_prod.defs.operations import alerting as alerting_assets
from research_to_prod.defs.operations import assets as operations_assets
from research_to_prod.defs.operations import book_watching, margin_watching, watching
from research_to_prod.defs.operations import checks as operations_checks
from research_to_prod.defs.operations import control_state as control_assets
from research_to_prod.defs.operations import kill_drill as kill_drill_assets
from research_to_prod.defs.operations import risk_posture as posture_assets
from research_to_prod.defs.operations import running_day as running_day_assets
from research_to_prod.defs.promotion import assets as promotion_assets
from research_to_prod.defs.promotion import metrics as promotion_metrics
from research_to_prod.defs.promotion import rollback as rollback_assets
from research_to_prod.defs.reports import assets as report_assets
from research_to_prod.defs.reports import checks as report_checks
from research_to_prod.defs.research import assets as research_assets
from research_to_prod.defs.research import automation as research_automation
from research_to_prod.defs.research import checks as research_checks
from research_to_prod.defs.resources import build_resources
from research_to_prod.settings import Settings

defs: dg.Definitions = with_code_references(
    dg.load_definitions_from_modules(
        [
            market_data_assets,
            liquidity_assets,
            research_assets,
            research_checks,
            research_automation,
            gate_assets,
            gate_checks,
            promotion_assets,
            promotion_metrics,
            rollback_assets,
            execution_assets,
            execution_checks,
            attribution_assets,
            attribution_checks,
            operations_assets,
            operations_checks,
            running_day_assets,
            alerting_assets,
            control_assets,
            kill_drill_assets,
            posture_assets,
            report_assets,
            report_checks,
            automation,
            watching,
            book_watching,
            margin_watching,
        ],
        resources=build_resources(os.environ),
        # One process a run: the multiprocess executor costs 5 to 8 s a step in imports alone.
        executor=dg.in_process_executor,
    ),
    Settings.from_environment(os.environ).source,
)

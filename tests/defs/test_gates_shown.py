"""What the UI shows of a gate report reads well at every size of margin."""

from research_to_prod.defs.gates.shown import report_shown, values_shown
from research_to_prod.gates.evaluation import GateReport
from research_to_prod.gates.families import Family
from research_to_prod.gates.gate import judge

GATES = (
    judge("edge_kept_at_latency", Family.ROBUSTNESS, 8.28e7, ">=", 5000.0, samples=8, what="delay"),
    judge("kelly_cap", Family.RISK, 0.45, ">=", 1.0, samples=1096, what="Kelly's size", remedy="less leverage"),
    judge("overfitting", Family.STATISTICS, None, "<=", 0.2, samples=0, what="overfitting"),
)
REPORT = GateReport("one", "research_to_paper", "0" * 64, GATES)


def test_gates_without_a_margin_come_first_then_the_smallest_and_a_huge_one_is_told_in_times() -> None:
    shown = report_shown(REPORT)
    rows = [line.strip("| ").split(" | ") for line in str(shown["gates"].value).splitlines()[2:]]
    assert [(row[0], row[2], row[5]) for row in rows] == [
        ("overfitting", "inconclusive", ""),
        ("kelly_cap", "fail", "-55.0%"),
        ("edge_kept_at_latency", "pass", "+16,559 times"),
    ]


def test_what_could_not_be_measured_is_not_plotted() -> None:
    assert values_shown(REPORT) == {"edge_kept_at_latency": 8.28e7, "kelly_cap": 0.45}

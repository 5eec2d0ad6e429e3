"""The rules for one candidate at one stage, and what each layer says when it fires.

Belongs here: the rules as one value with its digest, and the triggers' wording. Doesn't: when a layer fires.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pydantic import TypeAdapter

from research_to_prod.promotion.rollback.baseline import Baseline
from research_to_prod.promotion.rollback.design import Design
from research_to_prod.promotion.rollback.trigger import ACTIONS, Layer, Trigger, stage_after
from research_to_prod.values import Stage, digest


@dataclass(frozen=True)
class Watch:
    """The rules for one version of one candidate at one stage; another stage is another watch."""

    candidate: str
    candidate_sha256: str
    stage: Stage
    design: Design
    baseline: Baseline

    def __post_init__(self) -> None:
        """Refuse a stage at which nothing trades."""
        for action in ACTIONS.values():
            stage_after(action, self.stage)

    @cached_property
    def rules_sha256(self) -> str:
        """Digest of everything that a state follows from besides its readings."""
        return digest(TypeAdapter(Watch).dump_python(self, mode="json"))

    @property
    def canary_shift(self) -> float:
        """The shift of the observations that loses the policy's Sharpe ratio, for this candidate's returns.

        A Sharpe ratio is in deviations of a day, observations are in those of a long sum. Days that follow each other
        make the latter larger, and the same Sharpe ratio a smaller shift: with an autocorrelation of 0.2 and the shift
        of independent days, 18.9 % of canaries without any edge were kept instead of the 10 % declared.
        """
        edge = self.baseline.edge
        return self.design.canary_shift * edge.daily_deviation / edge.long_run_deviation

    def limits_broken(
        self, broken: list[tuple[str, float, float]], samples: int, at: str, log_evidence: float, began: str
    ) -> Trigger:
        """Return the trigger of (name, value, limit) of each broken limit; the first gives the numbers."""
        reason = "; ".join(f"{name} of {value:.6g} is above {limit:g}" for name, value, limit in broken)
        return self._trigger(Layer.LIMIT, *broken[0], samples, at, log_evidence, reason, began)

    def implementation_differs(
        self, behind: float, ahead: float, samples: int, at: str, log_evidence: float, began: str
    ) -> Trigger:
        """Return the trigger of live that does not earn what its shadow earns."""
        highest, limit = max(behind, ahead), self.design.implementation.threshold
        reason = (
            f"live has run {'behind' if behind >= ahead else 'ahead of'} its shadow: the chart stands at "
            f"{highest:.6g}, above {limit:.6g} for {self.design.clean_reads} clean days"
        )
        measure = "cusum of live less shadow"
        return self._trigger(Layer.IMPLEMENTATION, measure, highest, limit, samples, at, log_evidence, reason, began)

    def edge_decayed(self, decay: float, samples: int, at: str, log_evidence: float, began: str) -> Trigger:
        """Return the trigger of live that earns less than it was held to."""
        limit = self.design.edge.threshold
        reason = (
            f"live has earned less than it was held to: the chart stands at {decay:.6g}, above {limit:.6g} for "
            f"{self.design.clean_reads} clean days"
        )
        return self._trigger(Layer.EDGE, "cusum of the edge", decay, limit, samples, at, log_evidence, reason, began)

    def canary_lost(self, ratio: float, samples: int, at: str, log_evidence: float) -> Trigger:
        """Return the trigger of a canary whose sequential test decides against it."""
        limit = self.design.canary_upper
        reason = (
            f"the sequential test decides that the edge is lost: {ratio:.6g}, at or above {limit:.6g} for "
            f"{self.design.clean_reads} clean days"
        )
        measure = "log likelihood ratio of a lost edge"
        return self._trigger(Layer.CANARY, measure, ratio, limit, samples, at, log_evidence, reason)

    def _trigger(
        self, layer: Layer, measure: str, statistic: float, threshold: float, samples: int, at: str,
        log_evidence: float, reason: str, began: str = "",
    ) -> Trigger:  # fmt: skip
        action = ACTIONS[layer]
        return Trigger(
            candidate=self.candidate,
            layer=layer,
            measure=measure,
            statistic=statistic,
            threshold=threshold,
            samples=samples,
            action=action,
            from_stage=self.stage,
            to_stage=stage_after(action, self.stage),
            at=at,
            rules_sha256=self.rules_sha256,
            log_evidence=log_evidence,
            log_evidence_limit=self.design.audit_limit,
            reason=reason,
            began=began,
        )

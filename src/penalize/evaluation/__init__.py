"""HOW a penalty is computed: the plain reference evaluator, the fast one that is held to it, and the report."""

from penalize.evaluation.fused import Group, WeightPenalties
from penalize.evaluation.reference import activity_losses, total, weight_losses
from penalize.evaluation.report import Report, ReportRow, report
from penalize.evaluation.shrinking import StepSizes, shrink_

__all__ = [
    "Group",
    "Report",
    "ReportRow",
    "StepSizes",
    "WeightPenalties",
    "activity_losses",
    "report",
    "shrink_",
    "total",
    "weight_losses",
]

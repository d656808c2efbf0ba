"""HOW a penalty is computed: the plain reference evaluator, the fast one that is held to it, and the report."""

from penalize.evaluation.fused import Group, Plan, WeightPenalties
from penalize.evaluation.reference import activity_losses, total, weight_losses
from penalize.evaluation.report import Report, ReportRow, Rows, as_lines, report
from penalize.evaluation.shrinking import Shrinking, StepSizes

__all__ = [
    "Group",
    "Plan",
    "Report",
    "ReportRow",
    "Rows",
    "Shrinking",
    "StepSizes",
    "WeightPenalties",
    "activity_losses",
    "as_lines",
    "report",
    "total",
    "weight_losses",
]

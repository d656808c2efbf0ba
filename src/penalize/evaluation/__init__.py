"""HOW a penalty is computed: the plain reference evaluator, and the report."""

from penalize.evaluation.reference import activity_losses, total, weight_losses
from penalize.evaluation.report import Report, ReportRow, report

__all__ = ["Report", "ReportRow", "activity_losses", "report", "total", "weight_losses"]

"""Smaller models: units that are exactly constant, or that nobody reads, are cut out of the weights."""

from penalize.compacting.compaction import Compacted, compact
from penalize.compacting.report import CompactReport, CompactRow

__all__ = ["CompactReport", "CompactRow", "Compacted", "compact"]

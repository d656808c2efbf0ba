"""WHERE a penalty is paid: choosing parameters and outputs, and recording activity."""

from penalize.placement.calls import (
    enter_call,
    exit_call,
    next_position,
    output_tensors,
    record_activity,
    record_value,
)
from penalize.placement.computed import computed_weights
from penalize.placement.declared import Declarations, declarations_of, records_below
from penalize.placement.hooks import install_hooks, records_penalties, remove_all_hooks
from penalize.placement.records import Record
from penalize.placement.selection import (
    Rules,
    aliases,
    check_built,
    declared_activities,
    declared_weights,
    exact_activities,
    exact_weights,
    module_names,
    parameter_names,
    select_activities,
    select_weights,
)
from penalize.placement.targets import ActivityTarget, Declaration, Layout, Target, WeightDeclaration, WeightTarget
from penalize.placement.threads import PerThread

__all__ = [
    "ActivityTarget",
    "Declaration",
    "Declarations",
    "Layout",
    "PerThread",
    "Record",
    "Rules",
    "Target",
    "WeightDeclaration",
    "WeightTarget",
    "aliases",
    "check_built",
    "computed_weights",
    "declarations_of",
    "declared_activities",
    "declared_weights",
    "enter_call",
    "exact_activities",
    "exact_weights",
    "exit_call",
    "install_hooks",
    "module_names",
    "next_position",
    "output_tensors",
    "parameter_names",
    "record_activity",
    "record_value",
    "records_below",
    "records_penalties",
    "remove_all_hooks",
    "select_activities",
    "select_weights",
]

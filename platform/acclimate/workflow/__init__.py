"""The jobs that join rooms: meta-train, evaluate, judge; for commands, pipelines and the demo."""

from acclimate.workflow.comparing import Comparison, compare, recommended_yaml
from acclimate.workflow.job import VERDICT, Outcome, alias_of, meta_train
from acclimate.workflow.judging import (
    chosen_initialization,
    evaluate_checkpoints,
    evaluate_starts,
    evaluate_version,
)
from acclimate.workflow.listener import Listener
from acclimate.workflow.phases import phases
from acclimate.workflow.records import (
    DATA_REPORT,
    anything_new,
    check_data,
    lineage_of,
    mlflow_run,
    starting_version,
)
from acclimate.workflow.training import train_phases

__all__ = [
    "DATA_REPORT",
    "VERDICT",
    "Comparison",
    "Listener",
    "Outcome",
    "alias_of",
    "anything_new",
    "check_data",
    "chosen_initialization",
    "compare",
    "evaluate_checkpoints",
    "evaluate_starts",
    "evaluate_version",
    "lineage_of",
    "meta_train",
    "mlflow_run",
    "phases",
    "recommended_yaml",
    "starting_version",
    "train_phases",
]

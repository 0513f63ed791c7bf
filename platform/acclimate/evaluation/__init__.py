"""How fast held-out tasks adapt: the meta-learned start beside joint training and a device alone."""

from acclimate.evaluation.champion import Requirement, Verdict, challenge, measure_start
from acclimate.evaluation.contenders import LABELS
from acclimate.evaluation.evaluate import EvaluationProtocol, Trained, evaluate
from acclimate.evaluation.report import (
    Comparison,
    Curve,
    Evaluation,
    comparison_sentence,
    headline,
    table,
    worst_sentence,
)
from acclimate.evaluation.statistics import Summary

__all__ = [
    "LABELS",
    "Comparison",
    "Curve",
    "Evaluation",
    "EvaluationProtocol",
    "Requirement",
    "Summary",
    "Trained",
    "Verdict",
    "challenge",
    "comparison_sentence",
    "evaluate",
    "headline",
    "measure_start",
    "table",
    "worst_sentence",
]

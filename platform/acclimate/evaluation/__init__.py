"""How fast held-out tasks adapt: the meta-learned start beside every rival that needs less."""

from acclimate.evaluation.champion import Challenge, Requirement, challenge, measure_start
from acclimate.evaluation.compared import Compared, Entry, compared, compared_table
from acclimate.evaluation.contenders import LABELS, Choice, at_setting, choose
from acclimate.evaluation.details import Words
from acclimate.evaluation.evaluate import CHOOSING_DRAWS, HeldOut, Trial, comparisons, evaluate
from acclimate.evaluation.lineup import EvaluationProtocol, Trained, own_start
from acclimate.evaluation.report import (
    Comparison,
    Curve,
    Evaluation,
    ahead_sentence,
    comparison_sentence,
    headline,
    metric_name,
    table,
    units_sentence,
    worst_sentence,
)
from acclimate.evaluation.statistics import Summary
from acclimate.evaluation.verdict import Verdict, judge

__all__ = [
    "CHOOSING_DRAWS",
    "LABELS",
    "Challenge",
    "Choice",
    "Compared",
    "Comparison",
    "Curve",
    "Entry",
    "Evaluation",
    "EvaluationProtocol",
    "HeldOut",
    "Requirement",
    "Summary",
    "Trained",
    "Trial",
    "Verdict",
    "Words",
    "ahead_sentence",
    "at_setting",
    "challenge",
    "choose",
    "compared",
    "compared_table",
    "comparison_sentence",
    "comparisons",
    "evaluate",
    "headline",
    "judge",
    "measure_start",
    "metric_name",
    "own_start",
    "table",
    "units_sentence",
    "worst_sentence",
]

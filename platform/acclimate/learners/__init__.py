"""Ways to learn a start: each returns a meta-gradient, so one outer loop drives them all."""

from acclimate.learners import class_means, last_layer
from acclimate.learners.backend import Backend, choose_backend
from acclimate.learners.closed_form import ClosedFormLearner
from acclimate.learners.config import LearnerConfig
from acclimate.learners.gradients import under
from acclimate.learners.headless import check_head
from acclimate.learners.heads import heads_in
from acclimate.learners.inner import Batch, Params, in_units, inner_step, rates_at
from acclimate.learners.learner import GradientLearner, Learner, MetaParams, Metrics, build_learner
from acclimate.learners.losses import LOSSES, Loss, loss_for, weighted_mean
from acclimate.learners.units import units_of

__all__ = [
    "LOSSES",
    "Backend",
    "Batch",
    "ClosedFormLearner",
    "GradientLearner",
    "Learner",
    "LearnerConfig",
    "Loss",
    "MetaParams",
    "Metrics",
    "Params",
    "build_learner",
    "check_head",
    "choose_backend",
    "class_means",
    "heads_in",
    "in_units",
    "inner_step",
    "last_layer",
    "loss_for",
    "rates_at",
    "under",
    "units_of",
    "weighted_mean",
]

"""Ways to learn a start: each returns a meta-gradient, so one outer loop drives them all."""

from acclimate.learners.backend import Backend, choose_backend
from acclimate.learners.config import LearnerConfig
from acclimate.learners.inner import Batch, Params, batch_loss, inner_step, rates_at
from acclimate.learners.learner import Learner, MetaParams, Metrics, build_learner
from acclimate.learners.losses import LOSSES, Loss, loss_for, weighted_mean

__all__ = [
    "LOSSES",
    "Backend",
    "Batch",
    "Learner",
    "LearnerConfig",
    "Loss",
    "MetaParams",
    "Metrics",
    "Params",
    "batch_loss",
    "build_learner",
    "choose_backend",
    "inner_step",
    "loss_for",
    "rates_at",
    "weighted_mean",
]

"""From drift to a new candidate: `Retrainer` decides whether, a `Launcher` starts the training elsewhere.

The service itself never trains: it imports neither torch nor Ray, and a training that fails or hangs costs
it nothing but the lease.
"""

from acclimate.rollout.retraining.launcher import CommandLauncher, Finished, Launcher, Training
from acclimate.rollout.retraining.retrainer import Answer, Retrainer

__all__ = ["Answer", "CommandLauncher", "Finished", "Launcher", "Retrainer", "Training"]

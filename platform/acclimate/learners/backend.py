"""How the meta-gradient of a model is computed fastest: plain or compiled.

A pure function of the configuration, the model and the machine's compiler, decided before the first step: a
rule that looked at timings would round differently from one worker to the next.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from typing import Literal

from torch import nn

from acclimate.errors import ModelError
from acclimate.learners.config import LearnerConfig

BackendName = Literal["plain", "compiled"]

# torch.compile takes 20 to 40 s once and spares about 1.4 ms an inner step (25 tasks, sinusoid network,
# one thread of a Xeon); below this many inner steps in all it does not come back.
PAYS_AFTER = 30_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """`plain` is torch eager under vmap, `compiled` native code by torch's compiler, inductor.

    Attributes:
        reason: why this one, for the log and the run's record.
    """

    name: BackendName
    reason: str


def choose_backend(config: LearnerConfig, model: nn.Module, outer_steps: int | None = None) -> Backend:
    """The backend for `config.compile` on this machine.

    Args:
        outer_steps: length of the run, by which `auto` tells whether compiling comes back; None: a short one.

    Raises:
        ModelError: `compile` is `on` and this machine has no compiler.
    """
    if config.compile == "off":
        return Backend("plain", "learner.compile is off")
    wanted = _wanted(config, model, outer_steps)
    if wanted.name == "plain":
        return wanted
    missing = _missing_compiler()
    if missing is None:
        return wanted
    if config.compile == "on":
        raise ModelError(f"learner.compile is on, but {missing}; or set learner.compile to off")
    about = {"backend": "plain", "instead_of": wanted.name, "reason": missing}
    log.warning("backend-replaced", extra=about)
    return Backend("plain", missing)


def _wanted(config: LearnerConfig, model: nn.Module, outer_steps: int | None) -> Backend:
    if config.algorithm == "closed-form":
        return Backend("plain", "a head in closed form is one pass through the network, nothing to compile")
    if config.compile == "on":
        return Backend("compiled", "learner.compile is on")
    if config.serial:
        return Backend("plain", "serial Reptile is one task after another, too long a graph to compile")
    if any(isinstance(module, nn.Conv1d | nn.Conv2d) for module in model.modules()):
        return Backend("plain", "convolutions take most of the time and compiling leaves them as they are")
    if any(isinstance(module, nn.Dropout) for module in model.modules()):
        return Backend("plain", "what dropout leaves out is drawn anew each step")
    inner_steps = (outer_steps or 0) * config.inner_steps
    if inner_steps < PAYS_AFTER:
        return Backend("plain", f"{inner_steps} inner steps in all are too few for compiling to come back")
    return Backend("compiled", f"{inner_steps} inner steps of a small network")


def _missing_compiler() -> str | None:
    found = any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))
    return None if found else "torch.compile needs a C++ compiler: install g++ or clang++, or set CXX"

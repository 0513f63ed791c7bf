"""Every knob of a learner in one place, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from acclimate.errors import RecipeError

Algorithm = Literal["closed-form", "maml", "anil", "reptile", "meta-sgd", "maml++", "joint", "device-only"]
HeadsChoice = Literal["auto", "last-layer", "class-means", "both"]
CompileMode = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class LearnerConfig:
    """How a start is learned and how a task adapts from it.

    Attributes:
        algorithm: `closed-form` (heads solved exactly, with the fleet as prior; Harrison et al. 2018), `maml`
            (Finn et al. 2017), `anil` (MAML whose inner loop moves only the head; Raghu et al. 2020),
            `reptile` (Nichol et al. 2018), `meta-sgd` (MAML with a learned rate for every weight; Li et al.
            2017), `maml++` (MAML with a learned rate for every step and parameter, and the multi-step loss;
            Antoniou et al. 2019), and the baselines `joint` (one model for all tasks) and `device-only`
            (adapts from the random start; nothing is shared).
        inner_lr: step size of adaptation; the first value of learned rates.
        inner_steps: gradient steps on the support during training.
        trainable: what adaptation moves: `all`, `head`, `biases`, or parameter names.
        first_order: leave out the second derivative (maml, anil, meta-sgd, maml++).
        multi_step: outer steps over which maml++ moves from the query loss after every inner step to the
            loss after the last one.
        serial: reptile only: each task of a shard starts where the one before it ended.
        serial_rate: reptile with `serial`: how far to move towards each task's weights, in (0, 1].
        compile: `on` compiles the meta-gradient with torch.compile (needs a C++ compiler), `off` never does,
            `auto` compiles where it was measured to pay.
        heads: closed-form only: what is solved; `auto` is `both` for classes and `last-layer` elsewhere.
        exchangeable: closed-form only: classes mean something within an episode alone (Omniglot).
    """

    algorithm: Algorithm = "maml"
    inner_lr: float = 0.05
    inner_steps: int = 5
    trainable: str | tuple[str, ...] = "all"
    first_order: bool = False
    multi_step: int = 1000
    serial: bool = False
    serial_rate: float = 0.1
    compile: CompileMode = "auto"
    heads: HeadsChoice = "auto"
    exchangeable: bool = False

    def __post_init__(self) -> None:
        _one_of("algorithm", self.algorithm, get_args(Algorithm))
        _one_of("compile", self.compile, get_args(CompileMode))
        _one_of("heads", self.heads, get_args(HeadsChoice))
        if self.heads != "auto" and self.algorithm != "closed-form":
            raise RecipeError(
                f"learner.heads belongs to closed-form; remove it or set algorithm from {self.algorithm!r}"
            )
        if not (math.isfinite(self.inner_lr) and self.inner_lr > 0):
            raise RecipeError(f"learner.inner_lr is {self.inner_lr}; it must be above zero, for example 0.05")
        if self.inner_steps < 1:
            raise RecipeError(f"learner.inner_steps is {self.inner_steps}; at least 1 is needed to adapt")
        if self.multi_step < 0:
            raise RecipeError(
                f"learner.multi_step is {self.multi_step}; it is a count of outer steps, 0 or more"
            )
        if not 0 < self.serial_rate <= 1:
            raise RecipeError(f"learner.serial_rate is {self.serial_rate}; it must be above 0 and at most 1")
        if self.serial and self.algorithm != "reptile":
            raise RecipeError(
                f"learner.serial belongs to reptile; remove it or set algorithm from {self.algorithm!r}"
            )
        if self.algorithm == "anil" and self.trainable not in ("all", "head"):
            raise RecipeError(
                "learner.trainable: anil adapts the head by definition; use maml with your own subset"
            )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RecipeError(f"learner.{name} is {value!r}; use one of {', '.join(allowed)}")

"""How a step of a pipeline starts and fails: logs configured, a user's mistake told in one line."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from acclimate import logs, traces
from acclimate.mishaps import as_user_error

P = ParamSpec("P")
R = TypeVar("R")
FAILED = 2
log = logging.getLogger(__name__)


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` as the main job of this process.

    What a person can mend ends the process with exit code 2 after one line of log, as at the command line;
    anything else keeps its stack trace.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        logs.configure_from_environment()
        traces.configure_from_environment("acclimate-pipeline")
        try:
            with traces.span(function.__name__):
                return function(*args, **kwargs)
        except Exception as error:
            told = as_user_error(error)
            if told is None:
                raise
            log.error("failed", extra={"step": function.__name__, "error": told})
            sys.exit(FAILED)

    return run

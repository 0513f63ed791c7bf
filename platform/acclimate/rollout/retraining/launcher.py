"""How a training is started: a port, and the one way that needs nothing further, a command of this machine.

The command is whatever the operator configures: `acclimate train` here, or a client that submits a job to a
cluster and waits for it. It never goes through a shell, and it is not told the service's own secrets.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from acclimate.errors import RolloutError
from acclimate.rollout.domain.retraining import Trigger

PLACEHOLDERS = ("fleet", "model", "version", "id")
LINEAGE = "{lineage}"
SECRETS = ("ACCLIMATE_ADMIN_TOKEN", "ACCLIMATE_DATABASE_URL", "ACCLIMATE_SERVICE_KEY", "ACCLIMATE_TLS_KEY")
STOP_S = 20.0


@dataclass(frozen=True)
class Finished:
    """How a training ended: well or not, and a sentence for the audit log."""

    succeeded: bool
    detail: str


class Training(Protocol):
    """A training under way."""

    def finished(self) -> Finished | None:
        """How it ended; None while it runs."""

    def stop(self) -> None:
        """End it; what it has trained until then is in its checkpoint."""


class Launcher(Protocol):
    """Starts trainings."""

    def launch(self, trigger: Trigger) -> Training:
        """Start one.

        Raises:
            RolloutError: it cannot be started.
        """


class CommandLauncher:
    """Runs a command, one process group for each training.

    Args:
        command: as in a shell, without one. `{fleet}`, `{model}`, `{version}` (what the fleet runs) and
            `{id}` are replaced; the word `{lineage}` becomes `--tag key=value` for each fact about where the
            version comes from.
        folder: for the output of each training, `<id>.out` and `<id>.log`.
        tracking_uri: MLflow's, handed on as `MLFLOW_TRACKING_URI`; empty leaves the environment's.

    Raises:
        RolloutError: the command is empty or names another placeholder.
    """

    def __init__(self, command: str, folder: Path, tracking_uri: str = "") -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise RolloutError(f"the retraining command {command!r} cannot be read: {error}") from error
        if not self._words:
            raise RolloutError("the retraining command is empty: name a program, such as `acclimate train`")
        for word in self._words:
            for name in re.findall(r"\{(\w*)\}", word):
                if name not in PLACEHOLDERS and word != LINEAGE:
                    known = ", ".join(f"{{{each}}}" for each in (*PLACEHOLDERS, "lineage"))
                    raise RolloutError(
                        f"{word!r} in the retraining command: use {known}, the last one as a word of its own"
                    )
        self._folder, self._tracking_uri = folder, tracking_uri

    def launch(self, trigger: Trigger) -> Training:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        out, log = self._folder / f"{trigger.id}.out", self._folder / f"{trigger.id}.log"
        words = self.words(trigger)
        try:
            with open(out, "wb", opener=_private) as stdout, open(log, "wb", opener=_private) as stderr:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=self._environment(),
                    start_new_session=True,  # so that it and its own children end together
                )
        except (OSError, ValueError) as error:  # ValueError: a word that no program can be given
            reason = getattr(error, "strerror", None) or str(error)
            raise RolloutError(f"the retraining command cannot start {words[0]!r}: {reason}") from error
        return _Process(process, out, log)

    def words(self, trigger: Trigger) -> list[str]:
        """The command for one trigger."""
        values = {
            "fleet": trigger.fleet,
            "model": trigger.parent.name,
            "version": str(trigger.parent.version),
            "id": trigger.id,
        }
        words: list[str] = []
        for word in self._words:
            if word == LINEAGE:
                words += [
                    part for key, value in trigger.tags().items() for part in ("--tag", f"{key}={value}")
                ]
            else:
                words.append(re.sub(r"\{(\w+)\}", lambda found: values[found[1]], word))
        return words

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
        return kept | ({"MLFLOW_TRACKING_URI": self._tracking_uri} if self._tracking_uri else {})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # whatever the rights of the folder, which may be older than we


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]
    out: Path
    log: Path

    def finished(self) -> Finished | None:
        code = self.process.poll()
        if code is None:
            return None
        if code == 0:
            return Finished(True, _made(self.out))
        said = self.log.read_text(errors="replace").strip().splitlines()
        return Finished(False, f"exit code {code}: {said[-1][:300] if said else 'no output'} ({self.log})")

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _made(out: Path) -> str:
    """What a command that prints JSON with a `version`, as `acclimate train --json` does, says it made."""
    try:
        said = json.loads(out.read_text("utf-8"))
        version = said["version"]
        return f"{version['name']} version {version['version']} is registered"
    except (ValueError, TypeError, KeyError):
        return "the command ended well"

import fcntl
import sys
import time

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.domain.retraining import Drifted, Trigger
from acclimate.rollout.retraining import CommandLauncher
from tests.support.rollout_samples import OLD

TRIGGER = Trigger("t-1", "home", OLD, "drift", "retraining", "it's; $(drift)", Drifted(20, 9, 0.0))


def ended(training):
    for _ in range(500):
        finished = training.finished()
        if finished:
            return finished
        time.sleep(0.02)
    raise AssertionError("still running")


def test_placeholders_are_filled_and_words_stay_words(tmp_path):
    launcher = CommandLauncher(
        "train {model}.yaml --if-new {version} '--note=for {fleet}' {lineage}", tmp_path
    )
    words = launcher.words(TRIGGER)
    assert words[:5] == ["train", "gait.yaml", "--if-new", "1", "--note=for home"]
    assert words[5:7] == ["--tag", "parent_version=1"]
    assert "trigger_detail=it's; $(drift)" in words  # no shell ever reads it


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "empty"),
        ("train '", "cannot be read"),
        ("train {nobody}", "{nobody}"),
        ("train x{lineage}", "{lineage}"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_at_the_start(tmp_path, command, reason):
    with pytest.raises(RolloutError, match=reason):
        CommandLauncher(command, tmp_path)


def test_what_the_command_says_it_made_is_told(tmp_path):
    says = 'print(\'{"version": {"name": "gait", "version": 2}}\')'
    launcher = CommandLauncher(
        f'{sys.executable} -c "{says}"'.replace('"version"', '\\"version\\"')
        .replace('"name"', '\\"name\\"')
        .replace('"gait"', '\\"gait\\"'),
        tmp_path,
    )
    finished = ended(launcher.launch(TRIGGER))
    assert (finished.succeeded, finished.detail) == (True, "gait version 2 is registered")


def test_a_failing_command_is_told_with_its_last_words(tmp_path):
    launcher = CommandLauncher(f"{sys.executable} -c 'import sys; sys.exit(\"no such recipe\")'", tmp_path)
    finished = ended(launcher.launch(TRIGGER))
    assert not finished.succeeded
    assert "exit code 1: no such recipe" in finished.detail


def test_a_program_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(RolloutError, match="'/no/such/program'"):
        CommandLauncher("/no/such/program", tmp_path).launch(TRIGGER)


def test_the_services_secrets_stay_with_the_service(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_ADMIN_TOKEN", "acl_hush")
    monkeypatch.setenv("ACCLIMATE_DATABASE_URL", "postgresql://u:hush@h/d")
    hushed = '[v for v in os.environ.values() if "hush" in v]'
    prints = f'import os; print({hushed}, os.environ["MLFLOW_TRACKING_URI"])'
    launcher = CommandLauncher(f"{sys.executable} -c '{prints}'", tmp_path, "http://mlflow")
    assert ended(launcher.launch(TRIGGER)).succeeded
    assert (tmp_path / "t-1.out").read_text().split() == ["[]", "http://mlflow"]


def test_stopping_ends_the_command_and_its_children(tmp_path):
    held = tmp_path / "held"  # locked as long as the command's child lives
    child = f"import fcntl, time; f = open({str(held)!r}, 'w'); fcntl.flock(f, 2); f.write('x'); f.flush()"
    script = tmp_path / "command.py"
    begun = f"subprocess.run([sys.executable, '-c', {child + '; time.sleep(60)'!r}])"
    script.write_text(f"import subprocess, sys\n{begun}\n")
    launcher = CommandLauncher(f"{sys.executable} {script}", tmp_path)
    training = launcher.launch(TRIGGER)
    while not (held.exists() and held.read_text()):  # the suite's own limit ends what never begins
        time.sleep(0.02)
    training.stop()
    assert not training.finished().succeeded
    with held.open() as file:
        began = time.monotonic()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert time.monotonic() - began < 30.0

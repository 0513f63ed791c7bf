from datetime import datetime

import pytest

from acclimate.training.jobs.following import follow
from acclimate.training.jobs.job import Job, JobState, UnreachableError, job_name
from acclimate.training.recipe_file import load_recipe

LOG = "a first line\nand a second\nand the last\n"


class Scripted:
    """A cluster whose every answer is written down: states, and for each tail where it breaks."""

    def __init__(self, states, tails):
        self.states, self.tails = states, tails

    def get(self, name):
        state = self.states.pop(0)
        if state is None:
            raise UnreachableError("gone")
        return Job(name, "watch", state)

    def tail(self, name):
        until, error = self.tails.pop(0)
        for at in range(0, until, 5):
            yield LOG[at : min(at + 5, until)]
        if error:
            raise error


def followed(states, tails, **options):
    shown, waits, troubles, seen = [], [], [], []
    clock = iter(range(0, 10_000, 20))
    job = follow(
        Scripted(states, tails),
        "watch-1",
        shown.append,
        on_state=lambda job: seen.append(job.state),
        on_trouble=troubles.append,
        sleep=waits.append,
        clock=lambda: next(clock),
        **options,
    )
    return job, "".join(shown), waits, troubles, seen


RUNS, DONE, WAITS = JobState.RUNNING, JobState.SUCCEEDED, JobState.PENDING


def test_the_log_is_shown_once_however_often_the_connection_breaks():
    states = [WAITS, RUNS, None, RUNS, RUNS, DONE]
    lost = UnreachableError("dropped")
    tails = [(12, lost), (17, None), (31, lost), (len(LOG), None)]
    job, shown, waits, troubles, seen = followed(states, tails)
    assert (job.state, shown) == (DONE, LOG)
    assert seen == [WAITS, RUNS, DONE]
    assert len(troubles) == 2
    assert waits == [1, 2, 4, 1, 2]


def test_what_was_logged_between_the_last_look_and_the_end_is_shown():
    assert followed([RUNS, DONE], [(5, None), (len(LOG), None)])[1] == LOG


def test_patience_ends():
    with pytest.raises(UnreachableError):
        followed([None] * 10, [], patience_s=100)


def test_a_name_fits_kubernetes_and_says_what_and_when():
    recipe = load_recipe("watch").model_copy(update={"name": "9_Lives.Of-" + "x" * 60})
    name = job_name(recipe, datetime(2026, 1, 31, 23, 59, 58), "ab12")
    assert name.endswith("-20260131-235958-ab12")
    assert name.startswith("job-9-lives-of-x")
    assert len(name) <= 47

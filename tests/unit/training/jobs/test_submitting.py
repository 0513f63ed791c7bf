import pytest

from acclimate.errors import TrainingError
from acclimate.training.jobs.job import Job, JobState, Order, UnreachableError
from acclimate.training.jobs.submitting import submit_once
from acclimate.training.recipe_file import load_recipe

ORDER = Order("watch-1", load_recipe("watch"))
TOLD: list[UnreachableError] = []


class Starting:
    """A cluster that fails `failures` submissions; a lost acknowledgement leaves the job there."""

    def __init__(self, failures, lost=False):
        self.failures, self.lost = failures, lost
        self.names = []

    def submit(self, order):
        if self.lost or not self.failures:
            self.names.append(order.name)
        if self.failures:
            self.failures -= 1
            raise UnreachableError("no agent yet")
        return self.get(order.name)

    def get(self, name):
        if name not in self.names:
            raise TrainingError(f"no job {name}")
        return Job(name, "watch", JobState.PENDING)


def submitted(cluster):
    clock = iter(range(0, 1000, 10))
    return submit_once(
        cluster, ORDER, on_wait=TOLD.append, sleep=lambda seconds: None, clock=lambda: next(clock)
    )


@pytest.mark.parametrize("cluster", [Starting(0), Starting(3), Starting(1, lost=True)])
def test_a_job_is_submitted_exactly_once(cluster):
    assert submitted(cluster).name == "watch-1"
    assert cluster.names == ["watch-1"]


def test_a_person_who_waits_is_told_why():
    TOLD.clear()
    submitted(Starting(3))
    assert len(TOLD) == 3


def test_patience_ends_and_a_refusal_is_final():
    with pytest.raises(UnreachableError):
        submitted(Starting(100))

    class Refusing(Starting):
        def submit(self, order):
            raise TrainingError("no")

    with pytest.raises(TrainingError, match="no"):
        submitted(Refusing(0))

"""`acclimate jobs`: the cluster that a person names is asked, and named again in what to do next."""

from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from acclimate.cli import jobs
from acclimate.cli.main import cli
from acclimate.training.jobs.job import Job, JobState


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Mock:
    made = Mock()
    made.return_value.all.return_value = [Job("watch-1", "watch", JobState.RUNNING)]
    made.return_value.get.return_value = Job("watch-1", "watch", JobState.RUNNING)
    made.return_value.log.return_value = "step 1\n"
    monkeypatch.setattr(jobs, "open_jobs", made)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    return made


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("list", "acclimate jobs logs watch-1 --follow"),
        ("stop watch-1", "acclimate submit RECIPE --resume"),
    ],
)
@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("", {}),
        ("--address http://ray:8265", {"address": "http://ray:8265"}),
        ("--kubernetes --namespace train", {"kubernetes": True, "namespace": "train"}),
    ],
)
def test_the_cluster_that_is_named_is_asked_and_named_again(
    cluster: Mock, command: str, hint: str, given: str, place: dict[str, object]
) -> None:
    said = CliRunner().invoke(cli, ["jobs", *command.split(), *given.split()])
    assert said.exit_code == 0, said.output
    nowhere = {"address": None, "kubernetes": False, "namespace": None, "context": None}
    cluster.assert_called_once_with(**nowhere | place)
    assert f"next: {' '.join([hint, *given.split()])}  #" in said.stderr


def test_a_cluster_of_the_environment_is_asked_and_need_not_be_named(cluster: Mock) -> None:
    said = CliRunner().invoke(cli, ["jobs", "list"], env={"RAY_API_SERVER_ADDRESS": "http://ray:8265"})
    assert cluster.call_args.kwargs["address"] == "http://ray:8265"
    assert "--follow  #" in said.stderr
    assert CliRunner().invoke(cli, ["jobs", "logs", "watch-1"]).stdout == "step 1\n"

import json
import logging

from acclimate.errors import RolloutError
from acclimate.rollout.api.problems import ProblemError, from_exception


def test_a_problem_is_an_rfc_9457_document():
    response = ProblemError(404, "fleet-not-found", "no fleet 'x'", {"X-A": "b"}, fleet="x").response()
    assert response.media_type == "application/problem+json"
    assert response.headers["X-A"] == "b"
    assert json.loads(response.body) == {
        "type": "urn:acclimate:problem:fleet-not-found",
        "title": "Fleet not found",
        "status": 404,
        "detail": "no fleet 'x'",
        "fleet": "x",
    }


def test_a_users_error_is_the_clients_and_says_why():
    problem = from_exception(RolloutError("rollout 3 is done"))
    assert (problem.status, problem.detail) == (409, "rollout 3 is done")


def test_a_defect_tells_the_client_only_where_to_look(caplog):
    with caplog.at_level(logging.ERROR):
        problem = from_exception(ValueError("password=hunter2"))
    assert problem.status == 500
    assert "hunter2" not in problem.body().decode()
    assert problem.members["reference"] == caplog.records[-1].reference

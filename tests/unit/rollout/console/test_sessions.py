import pytest

from acclimate.rollout.console.sessions import safe_target


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/console/fleets/plant", "/console/fleets/plant"),
        ("https://evil.example/", "/console/"),
        ("//evil.example/console/", "/console/"),
        ("/console//evil.example", "/console/"),
        ("/console/\\evil", "/console/"),
        ("/console/../app-of-others", "/console/"),
        ("/console/.%2E/app-of-others", "/console/"),
        ("/console/\r\nSet-Cookie: x", "/console/"),
        ("", "/console/"),
    ],
)
def test_signing_in_never_leads_elsewhere(given, target):
    assert safe_target(given) == target

"""`acclimate bridge`: what it is given wrong is named in a line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.bridge import bridge

GOOD = {"--service": "http://127.0.0.1:1", "--broker": "mqtt://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *(
            ({"--broker": f"mqtt://{host}"}, "--broker is")
            for host in ("h:99999", "h:x", "a..b", "[::1", "", "a b")
        ),
        *(({"--service": f"http://{host}"}, "--service is") for host in ("h:99999", "a..b", "[::1")),
        ({"--broker": "http://127.0.0.1"}, "mqtts://broker.example.org"),
        ({"--service": "ftp://127.0.0.1"}, "https://fleet.example.org"),
        ({"--broker": "mqtt://user:secret@127.0.0.1"}, "prove who asks"),
        *(({"--name": name}, "use letters, digits") for name in ("a/b", "+", "#", "a\0")),
        ({"--broker": "mqtts://127.0.0.1:1", "--ca-file": "no.pem"}, "ca_file no.pem"),
        ({"--broker": "mqtts://127.0.0.1:1", "--certificate": "no.pem"}, "--certificate no.pem"),
        ({}, "Connection refused"),
    ],
)
def test_what_is_wrong_is_named(
    changes: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no.pem").write_text("garbage")
    told = CliRunner().invoke(bridge, [part for option in {**GOOD, **changes}.items() for part in option])
    assert told.exit_code
    assert says in f"{told.output} {told.exception}".replace("\n", " ")
    assert "secret" not in told.output

"""`acclimate bridge`: join an MQTT broker to a rollout service."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

import click

from acclimate.cli.output import err, out
from acclimate.errors import RolloutError
from acclimate.rollout.bridge import Bridge


@click.command()
@click.option("--service", required=True, help="URL of the rollout service.")
@click.option("--broker", required=True, help="mqtts://HOST[:PORT], or mqtt:// on this machine.")
@click.option(
    "--name", default=lambda: f"bridge-{socket.gethostname()}", help="Client id [default: bridge-HOST]."
)
@click.option("--ca-file", type=click.Path(path_type=Path, exists=True), help="Authorities, of both sides.")
@click.option(
    "--certificate", type=click.Path(path_type=Path, exists=True), help="PEM file with the bridge's key."
)
@click.option("--poll", type=click.FloatRange(0.1, 3600), default=15.0, show_default=True, help="Seconds.")
def bridge(
    service: str, broker: str, name: str, ca_file: Path | None, certificate: Path | None, poll: float
) -> None:
    """Join an MQTT broker to a rollout service, until Ctrl-C.

    Devices whose agents name the broker (`service = "mqtts://..."`) ask, download and report through it.
    """
    parts = urlsplit(broker)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise click.BadParameter(f"{broker!r}: give mqtts://HOST or mqtt://127.0.0.1", param_hint="--broker")
    secure = parts.scheme == "mqtts"
    name = name or f"bridge-{socket.gethostname()}"
    made = Bridge(service, (parts.hostname, parts.port or (8883 if secure else 1883)), name, ca_file, poll)
    if secure:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate is not None:
            context.load_cert_chain(certificate)
        made.client.tls_set_context(context)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    out.print(f"bridge {name}: {broker} <-> {service}; Ctrl-C ends it", highlight=False)
    try:
        made.run(stop)
    except OSError as error:
        raise RolloutError(
            f"broker {broker}: {error}: is it running, and is --ca-file its authority?"
        ) from None
    err.print(f"{made.forwarded} requests forwarded")

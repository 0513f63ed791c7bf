"""`acclimate bridge`: join an MQTT broker to a rollout service."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import threading
from pathlib import Path

import click

from acclimate.cli.options import LocalPath
from acclimate.cli.output import note, say
from acclimate.errors import RolloutError
from acclimate.rollout.bridge import Bridge
from acclimate_device.agent.config import url_of
from acclimate_device.agent.transport import trusting
from acclimate_device.errors import ConfigError, DeviceError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@click.command()
@click.option("--service", required=True, help="URL of the rollout service.")
@click.option("--broker", required=True, help="mqtts://HOST[:PORT], or mqtt:// on this machine.")
@click.option(
    "--name", default=lambda: f"bridge-{socket.gethostname()}", help="Client id [default: bridge-HOST]."
)
@click.option("--ca-file", type=LocalPath(exists=True), help="Authorities, of both sides.")
@click.option("--certificate", type=LocalPath(exists=True), help="PEM file with the bridge's key.")
@click.option("--poll", type=click.FloatRange(0.1, 3600), default=15.0, show_default=True, help="Seconds.")
def bridge(
    service: str, broker: str, name: str, ca_file: Path | None, certificate: Path | None, poll: float
) -> None:
    """Join an MQTT broker to a rollout service, until Ctrl-C.

    Devices whose agents name the broker (`service = "mqtts://..."`) ask, download and report through it.
    """
    try:
        url_of("--service", service, ("http", "https"))
        parts = url_of("--broker", broker, ("mqtt", "mqtts"))
        tls = _tls(ca_file, certificate) if parts.scheme == "mqtts" else None
    except DeviceError as error:
        raise click.UsageError(str(error)) from None
    name = name or f"bridge-{socket.gethostname()}"
    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r}: use letters, digits, - _ and .", param_hint="--name")
    port = parts.port or (1883 if tls is None else 8883)
    made = Bridge(service, (parts.hostname or "", port), name, ca_file, poll)
    if tls is not None:
        made.client.tls_set_context(tls)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    say(f"bridge {name}: {broker} <-> {service}; Ctrl-C ends it")
    try:
        made.run(stop)
    except OSError as error:
        raise RolloutError(
            f"broker {broker}: {error}: is it running, and is --ca-file its authority?"
        ) from None
    note(f"{made.forwarded} requests forwarded")


def _tls(ca_file: Path | None, certificate: Path | None) -> ssl.SSLContext:
    context = trusting(ca_file)
    if certificate is not None:
        try:
            context.load_cert_chain(certificate)
        except OSError as error:
            raise ConfigError(
                f"--certificate {certificate}: {error.strerror}: give the key and its certificate in PEM"
            ) from None
    return context

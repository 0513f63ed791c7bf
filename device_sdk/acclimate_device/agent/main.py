"""The command `acclimate-device`."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from acclimate_device import __version__
from acclimate_device.agent.agent import Agent
from acclimate_device.agent.certificate import certificate
from acclimate_device.agent.config import AgentConfig, read_peers, read_text
from acclimate_device.agent.gateway import Gateway, GatewayConfig
from acclimate_device.agent.identity import Identity
from acclimate_device.agent.machine import Starts, digest, serials
from acclimate_device.agent.service import problem
from acclimate_device.agent.transport import HttpTransport, Transport
from acclimate_device.errors import ConfigError, DeviceError, TransportError
from acclimate_device.protocol import Enrolled
from acclimate_device.storage import CONTRIBUTED, Claim, FileFlash, Slots, Store
from acclimate_device.telemetry import ReportQueue

RETIRED = 3
"""Exit code when an operator removed the device: the systemd unit does not start it again."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0, 2 for a user's mistake, 3 for a retired device."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        config = AgentConfig.load(options.config)
        alone = Claim(FileFlash(config.state).root, "agent") if options.alone else contextlib.nullcontext()
        with alone:
            return int(options.command(config, options))
    except TransportError as error:
        print(f"acclimate-device: {error}", file=sys.stderr)
        return RETIRED if error.problem == problem("device-retired") else 2
    except DeviceError as error:
        print(f"acclimate-device: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line, which the reference documents too."""
    parser = argparse.ArgumentParser(prog="acclimate-device", description="The agent of one device.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--config", type=Path, default=Path("/etc/acclimate/device.toml"), help="the TOML file (%(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, summary in (
        ("enrol", _enrol, "join a fleet with the one-time token; then run"),
        ("run", _run, "poll, download, report, until stopped; enrols first if need be"),
        ("once", _once, "one round: poll, obey, report"),
        ("gateway", _gateway, "run the agents of microcontrollers behind this machine, named in CHILDREN"),
        ("certificate", _certificate, "the device's TLS client certificate, for a broker to trust"),
        ("rotate-key", _rotate_key, "go over to another key; to the service it stays the same device"),
        ("status", _status, "what runs and what waits, without any request"),
    ):
        added = commands.add_parser(name, help=summary)
        added.set_defaults(command=command, alone=name != "status")
        added.add_argument("--json", action="store_true", help="print JSON")
        if name == "certificate":
            added.add_argument("--next", action="store_true", help="of the key that rotate-key goes over to")
        if name == "gateway":
            added.add_argument(
                "children", type=Path, metavar="CHILDREN", help="the TOML file of the children"
            )
            added.add_argument("--once", action="store_true", help="one round for each child")
        if name == "enrol":
            added.add_argument(
                "--again", action="store_true", help="even if it did: the service lost its database"
            )
            added.add_argument(
                "--new-key", action="store_true", help="with a new key: to the service, another device"
            )
    return parser


def _enrol(config: AgentConfig, options: argparse.Namespace) -> int:
    agent = _agent(config)
    if options.new_key:
        agent.identity.renew_key()
    enrolled = (None if options.again else agent.identity.enrolled()) or _enrol_now(agent, config)
    values = {
        "device_id": enrolled.device_id,
        "fleet": enrolled.fleet,
        "key_id": agent.identity.key().public.key_id,
    }
    _print(values, options)
    if not options.json:
        print("next: acclimate-device run")
    return 0


def _run(config: AgentConfig, options: argparse.Namespace) -> int:
    _leave_when_asked()
    agent = _agent(config)
    if agent.identity.enrolled() is None:
        _enrol_now(agent, config)
    agent.run(threading.Event())
    return 0


def _once(config: AgentConfig, options: argparse.Namespace) -> int:
    agent = _agent(config)
    changed, sent = agent.poll(), agent.send_reports()
    agent.contribute()
    _print({"new_assignment": changed, "reports_sent": sent}, options)
    return 0


def _gateway(config: AgentConfig, options: argparse.Namespace) -> int:
    gateway = Gateway(GatewayConfig.load(options.children, config), _enrolled_agent)
    if options.once:
        troubles = gateway.round()
        _print({name: trouble or "ok" for name, trouble in troubles.items()}, options)
        return 2 if any(troubles.values()) else 0
    _leave_when_asked()
    gateway.run(threading.Event())
    return 0


def _leave_when_asked() -> None:
    """At a signal, whatever goes on: a request may take long after systemd lost its patience, and everything
    here outlives a power cut."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


def _enrolled_agent(config: AgentConfig) -> Agent:
    agent = _agent(config)
    if agent.identity.enrolled() is None:
        _enrol_now(agent, config)
    return agent


def _status(config: AgentConfig, options: argparse.Namespace) -> int:
    flash = FileFlash(config.state)
    store = Store(flash)
    slots = Slots(store)
    boot, assignment = slots.boot(), slots.assignment()
    trial, enrolled, starts = boot.trial, Identity(store).enrolled(), Starts(store, lambda: "")
    hardware = digest(serials(), enrolled.device_id) if enrolled else ""
    _print(
        {
            "device": enrolled.device_id if enrolled else "not enrolled",
            "hardware": f"{hardware[:8] or 'unknown'}, {starts.counted()} starts",
            "good": f"{boot.release.path if boot.release else 'factory'} (slot {boot.good})",
            "trial": f"{trial.release.path}, {trial.starts_left} starts left" if trial else "none",
            "counter": boot.counter,
            "assigned": assignment.state.counter if assignment else 0,
            "waiting_reports": len(ReportQueue(store).reports()),
            "key": Identity(store).key().public.ed25519 if enrolled else "none",
            "contributes": "yes" if config.contribute else "no",
            "contributed": (store.read(CONTRIBUTED) or b"never").decode(),
        },
        options,
    )
    return 0


def _agent(config: AgentConfig) -> Agent:
    try:
        root = config.root.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"root {config.root}: {error.strerror}: copy root.json of the repository here"
        ) from None

    flash = FileFlash(config.state)

    def connect(url: str) -> Transport:
        if url.startswith("mqtt"):
            return _over_mqtt(url, config, flash)
        return HttpTransport(url, config.ca_file, config.timeout_s, config.proxy or None, config.bytes_per_s)

    transport = connect(config.service)
    static = connect(config.repository) if config.repository else None
    peers = None if config.peers is None else read_peers(config.peers)
    tuf = config.state / "tuf"
    return Agent(transport, flash, root, tuf, static, contribute=config.contribute, peers=peers)


def _over_mqtt(url: str, config: AgentConfig, flash: FileFlash) -> Transport:
    try:
        from acclimate_device.agent.mqtt import MqttTransport
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"service {url}: MQTT needs {error.name}, which is not installed: pip install "
            "'acclimate-device[gateway,mqtt]'"
        ) from None
    return MqttTransport(url, Identity(Store(flash)).key(), config.ca_file, config.timeout_s)


def _rotate_key(config: AgentConfig, options: argparse.Namespace) -> int:
    agent = _agent(config)
    agent.service.change_key()
    enrolled = agent.service.enrolled()
    _print({"device_id": enrolled.device_id, "key_id": agent.identity.key().public.key_id}, options)
    return 0


def _certificate(config: AgentConfig, options: argparse.Namespace) -> int:
    identity = Identity(Store(FileFlash(config.state)))
    pem = certificate(identity.next_key() if options.next else identity.key()).decode()
    if options.json:
        _print({"certificate": pem}, options)
    else:
        print(pem, end="")
    return 0


def _enrol_now(agent: Agent, config: AgentConfig) -> Enrolled:
    if config.token_file is None:
        raise ConfigError("this device is not enrolled: set token_file to a file with the one-time token")
    token = read_text(config.token_file, f"token_file {config.token_file}").strip()
    return agent.service.enrol(token, config.hardware_id, config.attributes, config.service_key)


def _print(values: Mapping[str, object], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(values))
        return
    for name, value in values.items():
        print(f"{name.replace('_', ' '):16} {value}")


if __name__ == "__main__":
    sys.exit(main())

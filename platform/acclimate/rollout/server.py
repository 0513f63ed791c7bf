"""One process of the service: store, key, controller and HTTP, from settings to the last request."""

from __future__ import annotations

import gc
import logging
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from acclimate import logs
from acclimate.errors import RolloutError
from acclimate.files import making
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.operator.operators import first_admin
from acclimate.rollout.application import Service, application, prompt_answers, taken_requests
from acclimate.rollout.certificate import ServerCertificate
from acclimate.rollout.connections import RESERVE, ConnectionGuard, GuardedProtocol, raise_descriptor_limit
from acclimate.rollout.controller import Controller
from acclimate.rollout.domain.retraining import RetrainingRule
from acclimate.rollout.faults import Faults
from acclimate.rollout.field_result import ModelRegistry
from acclimate.rollout.releases import AliasOf
from acclimate.rollout.retraining import CommandLauncher, Retrainer
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import Store, open_store

log = logging.getLogger(__name__)
DRAIN_S = 15
BACKLOG = 2048  # connections that wait while none can be taken
DRIFT_LOOKS = 100  # at a fleet's drift in one window, so that a short window is looked at in time


@dataclass(frozen=True)
class Started:
    """What a person is told when the service starts. `admin_token` is there at the first start only."""

    url: str
    admin_token: str | None
    exposed_in_clear: bool


def prepare(settings: ServiceSettings) -> Store:
    """Make the service's folder, open the database and bring its schema up to date.

    A folder that is there keeps its rights: it may be a volume's, or hold what others need.
    """
    with making(f"the home {settings.home}", RolloutError):
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_store(settings.database)


def serve(
    settings: ServiceSettings,
    tell: Callable[[Started], None],
    registry: ModelRegistry | None = None,
    alias_of: AliasOf | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first.

    Args:
        tell: is called once, when the service is about to listen.
        registry: where field results go and aliases move.
        alias_of: asks the registry for a version by its alias.

    Raises:
        RolloutError: a setting, the database, the key, the certificate or the port cannot be used.
    """
    logs.configure(settings.log_format, settings.log_level)
    store = prepare(settings)
    for path, may in settings.exposed.items():
        log.warning("open-to-others", extra={"path": str(path), "others_may": may})
    try:
        key = key_of(settings, store)
        admin_token = first_admin(store, settings.admin_token, time.time())
        faults = Faults()
        retrainer = retrainer_of(settings, store, faults)
        service = Service(settings, store, key, alias_of, retrainer=retrainer, faults=faults)
        descriptors = raise_descriptor_limit()
        guard = ConnectionGuard(
            max(RESERVE, descriptors - RESERVE), settings.connections_per_address, settings.proxies
        )
        service.metrics.watch(guard)
        log.info("descriptors", extra={"limit": descriptors, "per_address": settings.connections_per_address})
        certificate = (
            ServerCertificate(Path(settings.tls_certificate), Path(settings.tls_key))
            if settings.tls
            else None
        )
        server = _Server(_config(settings, service, guard, certificate))
        with _listening(settings) as sockets:
            tell(Started(settings.url, admin_token, settings.exposed_in_clear))
            with (
                _controlling(settings, store, registry, faults),
                _retraining(retrainer),
                certificate.renewing() if certificate else nullcontext(),
                _stoppable(),
            ):
                _run(server, sockets)
    finally:
        store.close()
        log.info("stopped")


def key_of(settings: ServiceSettings, store: Store) -> ServiceKey:
    """The service's key, made where no device knows another one yet.

    Raises:
        RolloutError: there is none, and devices that enrolled would refuse all that a new one signs.
    """
    file = settings.key_file
    if not file.exists() and any(store.count_devices(fleet.name) for fleet in store.fleets()):
        raise RolloutError(
            f"{file} is missing, and devices obey no other key: bring it back from a backup or from another "
            f"replica. If it is lost, `openssl genpkey -algorithm ed25519 -out {file}` makes one, and every "
            "device must enrol again"
        )
    return ServiceKey.load_or_create(file)


class _Server(uvicorn.Server):
    """What is there once it has started stays as long as it, and is never looked through for garbage again:
    each time that took a tenth of a second, in which nobody was answered."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()


def _run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
    """Until it is told to stop; a server that cannot start ends here too, instead of the process."""
    with suppress(SystemExit):
        server.run(sockets=sockets)
    if not server.started:
        raise RolloutError("the service could not start: the lines above say why")


@contextmanager
def _listening(settings: ServiceSettings) -> Iterator[list[socket.socket]]:
    """The addresses taken before anybody is told of them; clients that come early wait in their queues."""
    with ExitStack() as opened:
        try:
            found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
            sockets = [opened.enter_context(_bound(family, address)) for family, *_, address in found]
        except OSError as error:
            raise RolloutError(
                f"cannot listen on {settings.host} port {settings.port} ({error.strerror}): choose another "
                "--port, or a --host that is an address of this machine"
            ) from None
        yield sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGINT end the server and nothing else: what comes after it still gives leases back and
    ends what it started. Drained, the server raises the signal once more, which here is no news.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = {number: signal.signal(number, _noted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, before in told.items():
            signal.signal(number, before)


def _noted(number: int, frame: FrameType | None) -> None:
    log.info("stopping", extra={"signal": signal.Signals(number).name})


def _config(
    settings: ServiceSettings, service: Service, guard: ConnectionGuard, certificate: ServerCertificate | None
) -> uvicorn.Config:
    return uvicorn.Config(
        application(service),
        host=settings.host,
        port=settings.port,
        ssl_context_factory=(lambda config, default: certificate.context) if certificate else None,
        http=partial(  # type: ignore[arg-type] # called, never subclassed
            GuardedProtocol, guard=guard, prompt=prompt_answers(service), taking=taken_requests(service)
        ),
        ws="none",
        proxy_headers=False,  # done inside, where polls do not pay for it
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=75,
    )


@contextmanager
def _controlling(
    settings: ServiceSettings, store: Store, registry: ModelRegistry | None, faults: Faults
) -> Iterator[None]:
    """The controller in a thread beside; at the end it gives its lease back."""
    stop = threading.Event()
    controller = Controller(store, secrets.token_hex(8), time.time, registry, faults=faults)
    thread = threading.Thread(target=controller.run, args=(stop, settings.tick_s), name="controller")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DRAIN_S)


def retrainer_of(settings: ServiceSettings, store: Store, faults: Faults) -> Retrainer | None:
    """Who starts trainings, as the settings say; None where no command is configured.

    Raises:
        RolloutError: the command or the rule makes no sense.
    """
    if not settings.retrain_command:
        return None
    rule = RetrainingRule(
        settings.retrain_drift_share,
        settings.retrain_min_devices,
        settings.retrain_window_s,
        settings.retrain_cooldown_s,
    )
    folder = settings.home / "retraining"
    launcher = CommandLauncher(settings.retrain_command, folder, settings.registry_uri)
    return Retrainer(store, launcher, rule, time.time, faults=faults)


@contextmanager
def _retraining(retrainer: Retrainer | None) -> Iterator[None]:
    """The retrainer in a thread beside; at the end, what it trains is ended too."""
    if retrainer is None:
        yield
        return
    stop = threading.Event()
    look_s = min(60.0, max(1.0, retrainer.rule.window_s / DRIFT_LOOKS))
    thread = threading.Thread(target=retrainer.run, args=(stop, look_s), name="retraining")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2 * DRAIN_S)

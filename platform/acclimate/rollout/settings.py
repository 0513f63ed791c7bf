"""What one process of the service is told by its environment, read once at start.

Every setting is `ACCLIMATE_` plus the field's name in capitals. Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import get_type_hints

from acclimate.errors import RolloutError

PREFIX = "ACCLIMATE_"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def default_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Where all lives that no other setting places elsewhere: `ACCLIMATE_HOME`, or `./acclimate-home`."""
    return Path(environ.get("ACCLIMATE_HOME", "acclimate-home")).absolute()


@dataclass(frozen=True)
class ServiceSettings:
    """One process's settings; the empty defaults mean 'under `home`'.

    Attributes:
        home: folder of all that no other setting places elsewhere.
        host: address to listen on; others than this machine's need TLS.
        port: to listen on.
        tls_certificate: PEM file with the certificate chain; with it the service speaks HTTPS itself.
        tls_key: PEM file with the certificate's private key.
        trusted_proxies: whose `X-Forwarded-For` is believed: addresses, networks or `*`.
        public_url: how devices and browsers reach the service, where a proxy stands before it.
        database_url: `postgresql://` or `sqlite:///`; empty means SQLite in `home`.
        artifacts_url: where bundles' files are, any fsspec URL: a folder, `s3://`, `gs://`, `az://`.
        tuf_directory: the TUF repository's folder, served read-only.
        service_key: PEM file of the Ed25519 key that signs assignments; made at the first start.
        admin_token: a first administrator's token given from outside, by a Kubernetes Secret say.
        registry_uri: MLflow's tracking URI; empty means releases come from published bundles alone.
        device_token_lifetime_s: of the tokens that devices fetch with their keys.
        session_lifetime_s: of a sign-in to the console.
        poll_interval_s: how often devices of a new fleet poll, unless its creator says otherwise.
        max_body_bytes: of a request.
        device_rate: requests a second that one device may keep up, after a burst; 0 means no limit.
        device_burst: requests that one device may make at once.
        operator_rate: requests a second that one operator's token may keep up; 0 means no limit.
        operator_burst: requests that one operator's token may make at once.
        anonymous_rate: requests a second of one client address for enrolment, login and failed
            authentication; 0 means no limit.
        anonymous_burst: of those, at once.
        retrain_command: what trains a new version, see docs/retraining.md; empty means nothing does.
        retrain_drift_share: of the reporting devices, from which the service asks; 0 means only others do.
        retrain_min_devices: devices that must have reported before their share counts.
        retrain_window_s: how far back reports count.
        retrain_cooldown_s: shortest time between two trainings for one fleet, whoever asks.
        tick_s: how often the controller looks at the running rollouts.
        log_format: `text` or `json`.
        log_level: `debug`, `info`, `warning` or `error`.
    """

    home: Path = field(default_factory=default_home)
    host: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: str = ""
    tls_key: str = ""
    trusted_proxies: str = "127.0.0.1"
    public_url: str = ""
    database_url: str = ""
    artifacts_url: str = ""
    tuf_directory: str = ""
    service_key: str = ""
    admin_token: str = ""
    registry_uri: str = ""
    device_token_lifetime_s: float = 3600.0
    session_lifetime_s: float = 8 * 3600.0
    poll_interval_s: float = 300.0
    max_body_bytes: int = 1_000_000
    device_rate: float = 5.0
    device_burst: int = 60
    operator_rate: float = 50.0
    operator_burst: int = 200
    anonymous_rate: float = 5.0
    anonymous_burst: int = 60
    retrain_command: str = ""
    retrain_drift_share: float = 0.3
    retrain_min_devices: int = 20
    retrain_window_s: float = 86_400.0
    retrain_cooldown_s: float = 86_400.0
    tick_s: float = 1.0
    log_format: str = "text"
    log_level: str = "info"

    def __post_init__(self) -> None:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise RolloutError("TLS needs both ACCLIMATE_TLS_CERTIFICATE and ACCLIMATE_TLS_KEY")
        if self.log_format not in ("text", "json"):
            raise RolloutError(f"ACCLIMATE_LOG_FORMAT is {self.log_format!r}: use 'text' or 'json'")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, **given: object) -> ServiceSettings:
        """Read the settings; those `given` (by command-line options) win over the environment.

        Raises:
            RolloutError: a value does not read as its field's type.
        """
        types = get_type_hints(cls)
        values: dict[str, object] = {"home": default_home(environ)}
        for setting in fields(cls):
            name = PREFIX + setting.name.upper()
            text = environ.get(name)
            if text is not None and setting.name != "home":
                values[setting.name] = _read(name, text, types[setting.name])
        values.update({name: value for name, value in given.items() if value is not None})
        return cls(**values)  # type: ignore[arg-type]  # each value was read as its field's type

    @property
    def tls(self) -> bool:
        """Whether this process itself ends TLS."""
        return bool(self.tls_certificate)

    @property
    def https(self) -> bool:
        """Whether clients speak HTTPS, ended here or by a proxy."""
        return self.tls or self.public_url.startswith("https://")

    @property
    def exposed_in_clear(self) -> bool:
        """Whether other hosts can reach this process, and tokens would cross the network readable."""
        return self.host not in LOOPBACK and not self.https

    @property
    def url(self) -> str:
        """The address a person opens or a device is given."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def database(self) -> str:
        """SQLAlchemy URL; by default SQLite under `home`."""
        return self.database_url or f"sqlite:///{self.home / 'rollout.db'}"

    @property
    def artifacts(self) -> str:
        """Where the TUF repository's targets, the bundles' files, are kept, as an fsspec URL."""
        return self.artifacts_url or (self.tuf / "targets").absolute().as_uri()

    @property
    def tuf(self) -> Path:
        """The folder of the TUF repository."""
        return Path(self.tuf_directory) if self.tuf_directory else self.home / "tuf"

    @property
    def key_file(self) -> Path:
        """The file of the key that signs assignments."""
        return Path(self.service_key) if self.service_key else self.home / "service-key.pem"


def _read(name: str, text: str, kind: object) -> object:
    try:
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except ValueError as error:
        raise RolloutError(f"{name} is {text!r}: it must be a number") from error
    return text

"""What one process of the service is told by its environment, read once at start.

Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from acclimate.addresses import parts_of
from acclimate.files import others_may, sqlite_file, sqlite_url
from acclimate.home import expanded, home
from acclimate.settings import LogSettings

_OWN_PATHS = ("api", "console", "device", "healthz", "metrics", "readyz")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_DAY_S = 86_400.0
_YEAR_S = 366 * _DAY_S


class ServiceSettings(LogSettings):
    """One process's settings; the empty defaults mean 'under `home`'."""

    home: Path = Field(
        default_factory=home, description="folder of all that no other setting places elsewhere"
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address to listen on; others than this machine's need TLS",
    )
    port: int = Field(default=8080, ge=1, le=65_535, description="to listen on")
    tls_certificate: str = Field(
        default="", description="PEM file with the certificate chain; with it the service speaks HTTPS itself"
    )
    tls_key: str = Field(default="", description="PEM file with the certificate's private key")
    trusted_proxies: str = Field(
        default="127.0.0.1", description="whose `X-Forwarded-For` is believed: addresses, networks or `*`"
    )
    public_url: str = Field(
        default="", description="how devices and browsers reach the service, where a proxy stands before it"
    )
    database_url: str = Field(
        default="", description="`postgresql://` or `sqlite:///`; empty means SQLite in `home`"
    )
    artifacts_url: str = Field(
        default="",
        description="where bundles' files are, any fsspec URL: a folder, `s3://`, `gs://`, `az://`",
    )
    tuf_directory: str = Field(default="", description="the TUF repository's folder, served read-only")
    service_key: str = Field(
        default="", description="PEM file of the Ed25519 key that signs assignments; made at the first start"
    )
    admin_token: str = Field(
        default="", description="a first administrator's token given from outside, by a Kubernetes Secret say"
    )
    registry_uri: str = Field(
        default="",
        description="MLflow's tracking URI; empty means releases come from published bundles alone",
    )
    device_token_lifetime_s: float = Field(
        default=3600.0, ge=60, le=_YEAR_S, description="of the tokens that devices fetch with their keys"
    )
    session_lifetime_s: float = Field(
        default=8 * 3600.0, ge=60, le=_YEAR_S, description="of a sign-in to the console"
    )
    oidc_issuer: str = Field(
        default="", description="URL of an OpenID provider for signing in to the console; empty means none"
    )
    oidc_client_id: str = Field(default="", description="as which the provider knows this service")
    oidc_client_secret: str = Field(default="", description="the provider's secret for this service")
    oidc_scope: str = Field(default="openid profile email", description="what the provider is asked for")
    oidc_claim: str = Field(default="groups", description="claim whose values say what somebody may do")
    oidc_admins: str = Field(default="", description="values of that claim for administrators, with commas")
    oidc_operators: str = Field(default="", description="values of that claim for operators, with commas")
    oidc_viewers: str = Field(default="", description="values of that claim for viewers, with commas")
    oidc_fleet_claim: str = Field(
        default="", description="claim that names the one fleet somebody may see; empty means all fleets"
    )
    poll_interval_s: float = Field(
        default=300.0,
        ge=1,
        le=_DAY_S,
        description="how often devices of a new fleet poll, unless its creator says otherwise",
    )
    max_body_bytes: int = Field(default=1_000_000, ge=1_000, le=100_000_000, description="of a request")
    connections_per_address: int = Field(
        default=2_000,
        ge=0,
        le=1_000_000,
        description="connections at once from one client address that is no proxy's; 0 means no limit",
    )
    device_rate: float = Field(
        default=5.0,
        ge=0,
        le=1e6,
        description="requests a second that one device may keep up, after a burst; 0 means no limit",
    )
    device_burst: int = Field(
        default=60, ge=1, le=1_000_000, description="requests that one device may make at once"
    )
    report_bytes_rate: float = Field(
        default=20_000.0,
        ge=0,
        le=1e9,
        description="bytes of reports a second, unpacked, that one device may keep up; 0 means no limit",
    )
    report_bytes_burst: int = Field(
        default=4_000_000,
        ge=1,
        le=1_000_000_000,
        description="bytes of reports that one device may send at once, after months without a network",
    )
    epsilon_cap: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="most of its privacy (epsilon) that a device spends over all campaigns together; those "
        "without noise are refused then; 0 means no cap",
    )
    operator_rate: float = Field(
        default=50.0,
        ge=0,
        le=1e6,
        description="requests a second that one operator's token may keep up; 0 means no limit",
    )
    operator_burst: int = Field(
        default=200, ge=1, le=1_000_000, description="requests that one operator's token may make at once"
    )
    anonymous_rate: float = Field(
        default=5.0,
        ge=0,
        le=1e6,
        description="requests a second of one client address for enrolment, login and failed "
        "authentication; 0 means no limit",
    )
    anonymous_burst: int = Field(default=60, ge=1, le=1_000_000, description="of those, at once")
    retrain_command: str = Field(
        default="", description="what trains a new version, see docs/retraining.md; empty means nothing does"
    )
    retrain_drift_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="of the reporting devices, from which the service asks; 0 means only others do",
    )
    retrain_min_devices: int = Field(
        default=20,
        ge=1,
        le=100_000_000,
        description="devices that must have reported before their share counts",
    )
    retrain_window_s: float = Field(
        default=86_400.0, gt=0, le=_YEAR_S, description="how far back reports count"
    )
    retrain_cooldown_s: float = Field(
        default=86_400.0,
        gt=0,
        le=_YEAR_S,
        description="shortest time between two trainings for one fleet, whoever asks",
    )
    tick_s: float = Field(
        default=1.0,
        ge=0.01,
        le=30.0,
        description="how often a replica takes in changes and its controller looks at the running rollouts",
    )

    @field_validator("home", mode="after")
    @classmethod
    def _from_anywhere(cls, given: Path) -> Path:
        return expanded(given)

    @field_validator("public_url", mode="after")
    @classmethod
    def _reachable(cls, given: str) -> str:
        if given and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s/?#]+)*/?", given):
            raise ValueError("write https://host or http://host, with a port and a path if need be")
        first = parts_of(given, "ACCLIMATE_PUBLIC_URL").path.strip("/").partition("/")[0]
        if first in _OWN_PATHS:  # nobody could tell whether a proxy has taken it off
            raise ValueError(f"the service has a path /{first} itself: serve it under another")
        return given

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _of_networks(cls, given: str) -> str:
        named = [one.strip() for one in given.split(",") if one.strip()]
        if "*" in named and len(named) > 1:
            raise ValueError("`*` trusts everybody: name nobody beside it")
        for one in named:
            if one != "*":
                ipaddress.ip_network(one)  # as who reads the header has it: no bits beside the network's
        return given

    @field_validator("oidc_issuer", mode="after")
    @classmethod
    def _trustworthy(cls, given: str) -> str:
        parts = parts_of(given, "ACCLIMATE_OIDC_ISSUER")
        if given and parts.scheme != "https" and (parts.scheme, parts.hostname in LOOPBACK) != ("http", True):
            raise ValueError("write https://host, with a path if need be")
        return given

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("TLS needs both ACCLIMATE_TLS_CERTIFICATE and ACCLIMATE_TLS_KEY")
        if self.oidc_issuer and not (self.oidc_client_id and self.oidc_client_secret):
            raise ValueError(
                "ACCLIMATE_OIDC_ISSUER needs ACCLIMATE_OIDC_CLIENT_ID and ACCLIMATE_OIDC_CLIENT_SECRET too"
            )
        return self

    @property
    def proxies(self) -> list[str]:
        """`trusted_proxies`, one by one."""
        return [host.strip() for host in self.trusted_proxies.split(",") if host.strip()]

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
    def exposed(self) -> dict[Path, str]:
        """What other accounts of this machine may `read` or `write` of what the service keeps to itself."""
        kept = [self.home, self.key_file]
        kept += filter(None, [sqlite_file(self.database)])
        return {path: may for path in kept if path.exists() and (may := others_may(path))}

    @property
    def prefix(self) -> str:
        """The path of `public_url`, under which a proxy serves more than us; empty where we have a host."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def database(self) -> str:
        """SQLAlchemy URL; by default SQLite under `home`."""
        return self.database_url or sqlite_url(self.home / "rollout.db")

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

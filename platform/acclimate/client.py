"""A client of the rollout service: its address, a token, and errors as one line.

The address comes from `ACCLIMATE_URL` or `acclimate login`, the token from `ACCLIMATE_TOKEN` or `acclimate
login`, which keeps it in a file that its owner alone can read.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click
import httpx

from acclimate.errors import RolloutError
from acclimate.files import write_whole

DEFAULT_URL = "http://127.0.0.1:8080"
_TIMEOUT_S, _AGAIN_S = 30.0, 0.5
_TOKEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


class ServiceClient:
    """Calls of the operator side's REST interface.

    Args:
        url: address of the service.
        token: an API token.
        patience_s: how long a call is tried again while the service is away.
    """

    def __init__(self, url: str, token: str, patience_s: float = 0.0) -> None:
        # Files and secrets of Kubernetes end in a line break that is not part of what they hold.
        self.url, self.token, self._patience_s = url.strip().rstrip("/"), token.strip(), patience_s
        if not _TOKEN.fullmatch(self.token):
            wrong = "holds what no token does" if self.token else "is empty"
            raise RolloutError(f"the token for {self.url} {wrong}: copy it again, whole")
        if not self.url.startswith(("http://", "https://")):
            raise RolloutError(f"{url!r} is no address of a service: begin it with http:// or https://")
        try:
            self._http = httpx.Client(
                base_url=f"{self.url}/api/v1",
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=_TIMEOUT_S,
                follow_redirects=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RolloutError(f"{url!r} cannot be used: {error}") from None

    def get(self, path: str, **query: Any) -> Any:
        """GET `path`; query values that are None or empty are left out."""
        given = {name: value for name, value in query.items() if value not in (None, "", ())}
        return self._call("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST a JSON body."""
        return self._call("POST", path, json=dict(body or {}))

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """PUT a JSON body."""
        return self._call("PUT", path, json=dict(body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """PATCH with a JSON body."""
        return self._call("PATCH", path, json=dict(body))

    def delete(self, path: str) -> None:
        """DELETE `path`."""
        self._call("DELETE", path)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        response = self._answer(method, path, **options)
        if not response.is_success:
            raise RolloutError(_problem(response))
        try:
            return response.json() if response.content else None
        except ValueError:
            kind = response.headers.get("content-type", "no content type")
            raise RolloutError(
                f"what answers at {self.url} is no rollout service (it sent {kind}): correct ACCLIMATE_URL, "
                "or sign in to the network if that asks you to"
            ) from None

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, or the last one of several tries."""
        _checked(path)
        until = time.monotonic() + self._patience_s
        while True:
            try:
                response = self._http.request(method, path, **options)
                if not response.is_server_error or time.monotonic() >= until:
                    return response
            except (TypeError, ValueError, RecursionError) as error:  # before anything was sent
                raise RolloutError(f"what was given cannot be sent ({error}): correct it") from None
            except httpx.HTTPError as error:
                if time.monotonic() >= until:
                    raise RolloutError(
                        f"the rollout service at {self.url} does not answer ({error}){self._through()}: "
                        "start it with `acclimate serve`, or name another with ACCLIMATE_URL"
                    ) from None
            time.sleep(_AGAIN_S)

    def _through(self) -> str:
        """Which proxy the environment puts before the service, if any: it may be what does not answer."""
        parts = urlsplit(self.url)
        proxy = getproxies().get(parts.scheme)
        if not proxy or proxy_bypass(parts.hostname or ""):
            return ""
        return f" through the proxy {proxy.rpartition('@')[2]} (NO_PROXY excepts hosts)"


def _checked(path: str) -> None:
    """Refuse what would lead elsewhere than a name does: a slash, a question mark, nothing at all.

    Raises:
        RolloutError: such a part.
    """
    for part in path.split("/")[1:]:
        if not _NAME.fullmatch(part):
            raise RolloutError(
                f"{part!r} names nothing there: names begin with a letter or digit and go on with those and "
                "the characters . _ : -"
            )


def _problem(response: httpx.Response) -> str:
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered {response.status_code} {response.reason_phrase}"
    if response.status_code == 401:
        return f"{detail}: run `acclimate login`, or set ACCLIMATE_TOKEN"
    return detail


def credentials_file() -> Path:
    """Where `acclimate login` keeps address and token."""
    return Path(click.get_app_dir("acclimate")) / "credentials.json"


def save_credentials(url: str, token: str) -> Path:
    """Keep address and token for the next commands, readable by their owner alone."""
    path = credentials_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, json.dumps({"url": url, "token": token}), mode=0o600)
    return path


def connect() -> ServiceClient:
    """A client for the service that the environment or `acclimate login` names.

    Raises:
        RolloutError: there is no token.
    """
    saved = _saved_credentials()
    url = os.environ.get("ACCLIMATE_URL", "").strip() or saved.get("url") or DEFAULT_URL
    token: str | None = os.environ.get("ACCLIMATE_TOKEN", "").strip()
    if not token and saved.get("url", "").rstrip("/") == url.rstrip("/"):
        token = saved.get("token")  # a token is only ever sent to the service it was saved for
    if not token:
        raise RolloutError(f"no token for {url}: run `acclimate login --url {url}`, or set ACCLIMATE_TOKEN")
    return ServiceClient(url, token)


def _saved_credentials() -> dict[str, str]:
    path = credentials_file()
    if not path.is_file():
        return {}
    try:
        saved = json.loads(path.read_text("utf-8"))
        url, token = saved["url"], saved["token"]
        if isinstance(url, str) and isinstance(token, str):
            return {"url": url, "token": token}
    except (ValueError, TypeError, KeyError):
        pass
    raise RolloutError(f"{path} is damaged: sign in again with `acclimate login`")

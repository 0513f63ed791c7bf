"""The least that an ASGI application can answer, under the server that ours runs under: the measure of polls.

python -m bench.bare_asgi PORT
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

_HEADERS = [(b"etag", b'"1800000000000-60-0123456789ab"'), (b"cache-control", b"no-store")]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """304 with the headers of a poll that changed nothing; 200 to who asks for another path."""
    status = 200 if scope["path"] == "/readyz" else 304
    await send({"type": "http.response.start", "status": status, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve until ended."""
    uvicorn.run(
        answer,
        port=int(sys.argv[1]),
        http="httptools",
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()

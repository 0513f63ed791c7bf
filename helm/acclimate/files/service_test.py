"""Run by `helm test`: the service answers, is ready, and lets nobody write without a token."""

import ssl
import sys
import urllib.error
import urllib.request

BASE = sys.argv[1]
# The certificate names the public host, not the Service; the service is tested here, not the way to it.
UNVERIFIED = ssl._create_unverified_context()


def status(path: str, body: bytes | None = None) -> int:
    request = urllib.request.Request(BASE + path, data=body, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10, context=UNVERIFIED) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0  # nobody answers


def main() -> int:
    failures = 0
    for name, path, body, expected in [
        ("the process lives", "/healthz", None, {200}),
        ("database and fleets are loaded", "/readyz", None, {200}),
        ("metrics are exposed", "/metrics", None, {200}),
        ("an anonymous write is refused", "/api/v1/fleets", b'{"name": "helm-test"}', {401, 403}),
    ]:
        found = status(path, body)
        failures += found not in expected
        print(f"{'ok' if found in expected else 'FAILED'}: {name} ({path} answered {found})")
    return 1 if failures else 0


sys.exit(main())

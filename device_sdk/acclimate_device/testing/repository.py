"""A signed TUF repository in memory: real keys, real signatures, made to be tampered with.

    repository = SimulatedRepository()
    repository.publish(tiny_bundle())
    repository.files["targets/gestures/1/…adapt.onnx"] = b"something else"

`get` serves it as `agent.repository.Repository` asks for it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from acclimate_device.agent.transport import Response
from acclimate_device.errors import TransportError
from acclimate_device.protocol import MANIFEST, Manifest, loads

_ROLES = ("root", "targets", "snapshot", "timestamp")
_TERM = datetime.timedelta(days=30)


class SimulatedRepository:
    """Consistent snapshots, one Ed25519 key for each role.

    Attributes:
        files: everything that is served, by path; change what you like.
        root: the trusted root a device is shipped with.
        fetched: the paths that were asked for.
        cut_after: bytes of targets after which the connection breaks, once; None never.
    """

    def __init__(self) -> None:
        self.signers = {role: CryptoSigner(Ed25519PrivateKey.generate()) for role in _ROLES}
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.cut_after: int | None = None
        expires = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + _TERM
        self._root = Metadata(Root(expires=expires, consistent_snapshot=True))
        for role, signer in self.signers.items():
            self._root.signed.add_key(signer.public_key, role)
        self._targets = Metadata(Targets(expires=expires))
        self._snapshot = Metadata(Snapshot(expires=expires))
        self._timestamp = Metadata(Timestamp(expires=expires))
        self.root = self._signed(self._root, "root")
        self.files["metadata/1.root.json"] = self.root
        self._publish_metadata()

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Add a bundle and sign everything anew."""
        release = loads(Manifest, files[MANIFEST], 10**6).release
        for name, data in files.items():
            info = TargetFile.from_data(f"{release.path}/{name}", data, ["sha256"])
            self._targets.signed.targets[info.path] = info
            self.files[f"targets/{info.get_prefixed_paths()[0]}"] = data
        self.sign()

    def sign(self, expires: datetime.datetime | None = None) -> None:
        """Sign targets, snapshot and timestamp as new versions; with `expires` they hold until then."""
        for metadata in (self._targets, self._snapshot, self._timestamp):
            signed: Any = metadata.signed
            signed.version += 1
            signed.expires = expires or signed.expires
        self._publish_metadata()

    def path_of(self, name: str) -> str:
        """Where the target whose path ends with `name` is served."""
        return next(path for path in self.files if path.startswith("targets/") and path.endswith(name))

    def get(self, path: str, headers: Mapping[str, str], max_bytes: int) -> Response:
        """A file or a range of it.

        Raises:
            TransportError: there is none, it is longer than `max_bytes`, or the connection was cut.
        """
        self.fetched.append(path)
        if path not in self.files:
            raise TransportError(f"GET {path}: 404", 404)
        data, status = self.files[path], 200
        if "Range" in headers:
            first, last = headers["Range"].removeprefix("bytes=").split("-")
            data, status = data[int(first) : int(last) + 1], 206
        if self.cut_after is not None and path.startswith("targets/"):
            if self.cut_after <= 0:
                self.cut_after = None
                raise TransportError(f"GET {path}: the connection broke")
            data = data[: self.cut_after]
            self.cut_after -= len(data)
        if len(data) > max_bytes:
            raise TransportError(f"GET {path}: the answer is above {max_bytes} bytes", status)
        return Response(status, {}, data)

    def _publish_metadata(self) -> None:
        targets, snapshot = self._targets.signed, self._snapshot.signed
        snapshot.meta["targets.json"] = MetaFile(targets.version)
        self._timestamp.signed.snapshot_meta = MetaFile(snapshot.version)
        self.files[f"metadata/{targets.version}.targets.json"] = self._signed(self._targets, "targets")
        self.files[f"metadata/{snapshot.version}.snapshot.json"] = self._signed(self._snapshot, "snapshot")
        self.files["metadata/timestamp.json"] = self._signed(self._timestamp, "timestamp")

    def _signed(self, metadata: Metadata[Any], role: str) -> bytes:
        metadata.sign(self.signers[role])
        return bytes(metadata.to_bytes(JSONSerializer(compact=True)))

"""The signed repository that devices trust: TUF metadata over bundles' files, without torch.

Root and targets keys are kept away from every service; one online key signs snapshot and timestamp, so that
`refresh` can run on a schedule. Invariants:

1. Nothing published is changed or removed: versioned metadata and target files are never overwritten.
2. What devices see changes in one step, the replacement of `timestamp.json`, and only after python-tuf's own
   client has accepted the result.
3. A new root is signed by the old root's keys and its own, so every device can follow the chain.
"""

from acclimate.bundle.repository.beginning import begin
from acclimate.bundle.repository.keys import create_key, load_keys
from acclimate.bundle.repository.operations import create, publish, refresh, renew, rotate
from acclimate.bundle.repository.passphrase import signers
from acclimate.bundle.repository.roles import KEYS, ROLES_OF_KEY, KeyName
from acclimate.bundle.repository.status import RoleStatus, status
from acclimate.bundle.repository.storage import Storage

__all__ = [
    "KEYS",
    "ROLES_OF_KEY",
    "KeyName",
    "RoleStatus",
    "Storage",
    "begin",
    "create",
    "create_key",
    "load_keys",
    "publish",
    "refresh",
    "renew",
    "rotate",
    "signers",
    "status",
]

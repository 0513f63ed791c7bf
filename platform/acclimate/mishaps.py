"""What can go wrong outside of us, in a user's words: disks, permissions, databases, MLflow, Ray, network.

Libraries raise these where no caller of ours can add anything; the commands and the steps of pipelines ask
here before they call something a defect.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator

from acclimate.errors import AcclimateError

_SPACE = "free some space there, or set ACCLIMATE_HOME (or TMPDIR) to a folder on a larger disk"
_ACCESS = "give this user the right to it, or set ACCLIMATE_HOME to a folder of yours"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "mount it for writing, or set ACCLIMATE_HOME to a folder of yours",
    errno.ELOOP: "its links lead in a circle: correct the path",
    errno.ENAMETOOLONG: "choose a shorter name or folder",
    errno.EEXIST: "something else is there: move it away, or choose another place",
    errno.ENOTDIR: "a file is where a folder is needed: move it away, or choose another place",
    errno.EISDIR: "a folder is where a file is needed: move it away, or choose another place",
    errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
    errno.ENFILE: "the machine has too many open files: end what keeps them open",
    errno.ENOMEM: "end other programs, or use a smaller meta-batch, model or number of workers",
    errno.EIO: "the disk or its connection is failing: look into the system's log",
    errno.ESTALE: "the network file system has lost it: mount it again",
    errno.ENOTCONN: "the file system there is no longer connected: mount it again",
    errno.ENOLCK: "the file system cannot lock files: set ACCLIMATE_HOME to a folder on one that can",
    errno.ENOTSUP: "the file system cannot do this: set ACCLIMATE_HOME to a folder on another",
    errno.EBUSY: "another program uses it: end that, or choose another place",
    errno.EHOSTUNREACH: "see whether it runs and the network lets you through",
    errno.ENETUNREACH: "see whether it runs and the network lets you through",
    errno.ECONNRESET: "what answers there broke off: look into its log, then try again",
    errno.EADDRNOTAVAIL: "choose an address of this machine",
    errno.ECONNREFUSED: "start what should answer there, or correct its address",
    errno.ETIMEDOUT: "see whether it runs and the network lets you through",
    errno.EADDRINUSE: "another program has this address: choose another port",
}


def as_user_error(error: BaseException) -> AcclimateError | None:
    """The error that a person can mend behind `error`, or None: then it is a defect of ours."""
    if isinstance(error, AcclimateError):
        return error
    told = next(filter(None, map(_told, _causes(error))), None)
    return AcclimateError(told) if told else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what each library said it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _told(error: BaseException) -> str | None:
    said = " ".join(str(error).split())[:500]
    if "AF_UNIX path" in said:
        folder = os.environ.get("TMPDIR", "/tmp")
        return f"the folder for temporary files is too deep for a socket ({folder}): set TMPDIR=/tmp"
    libraries = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if libraries & {"sqlite3", "sqlalchemy", "alembic"}:
        return _of_database(error, said)
    if "mlflow" in libraries:
        return f"MLflow refused: {said}: `acclimate doctor` says which store is used, `acclimate ui` opens it"
    if "ray" in libraries:
        return f"Ray failed ({said}): `acclimate doctor` looks at the cluster; --workers 0 trains without one"
    if isinstance(error, MemoryError):
        return f"out of memory ({said or 'no details'}): {_REMEDIES[errno.ENOMEM]}"
    if isinstance(error, ssl.SSLError):  # its numbers are OpenSSL's, not the system's
        return f"no secure connection ({said}): see whose certificate answers there, and who vouches for it"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}: {_REMEDIES[error.errno]}"
    return None


def _of_database(error: BaseException, said: str) -> str | None:
    original = getattr(error, "orig", None) or error
    reason = " ".join(str(original).split())[:300]
    low = reason.lower()
    if "locked" in low:
        return f"the database is locked ({reason}): end the other program that writes to it, then try again"
    if "malformed" in low or "not a database" in low:
        return f"the database is damaged ({reason}): restore it from a backup, or move its file away"
    if "full" in low:
        return f"the database cannot grow ({reason}): {_SPACE}"
    if "readonly" in low or "unable to open" in low:
        return f"the database cannot be written ({reason}): {_ACCESS}"
    if type(error).__name__ in ("OperationalError", "DatabaseError", "InterfaceError", "CommandError"):
        return f"the database refused ({reason}): see that it runs and is of this version, then try again"
    return None  # a wrong statement is ours

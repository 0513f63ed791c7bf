"""Errors of the world around us end in one line with place and remedy; errors of ours keep their trace."""

from __future__ import annotations

import errno
import os
import sqlite3
import ssl

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from acclimate.errors import DataError
from acclimate.mishaps import as_user_error


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "ACCLIMATE_HOME"),
        (errno.EDQUOT, "larger disk"),
        (errno.EACCES, "right to it"),
        (errno.EROFS, "mount it for writing"),
        (errno.EMFILE, "ulimit"),
        (errno.EADDRINUSE, "another port"),
        (errno.EIO, "system's log"),
        (errno.ESTALE, "mount it again"),
        (errno.ENOLCK, "that can"),
    ],
)
def test_the_systems_errors_name_place_and_remedy(code, remedy):
    told = str(as_user_error(OSError(code, os.strerror(code), "/data/pool/values.npy")))
    assert told.startswith("/data/pool/values.npy: ")
    assert os.strerror(code) in told
    assert remedy in told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("database is locked", "end the other program"),
        ("database disk image is malformed", "restore it from a backup"),
        ("file is not a database", "restore it from a backup"),
        ("database or disk is full", "free some space"),
        ("attempt to write a readonly database", "right to it"),
        ("unable to open database file", "right to it"),
        ("no such table: fleet", "of this version"),
    ],
)
def test_databases_are_told_apart(said, told):
    original = sqlite3.OperationalError(said)
    assert told in str(as_user_error(original))
    assert told in str(as_user_error(OperationalError("SELECT 1", {}, original)))


def test_openssls_numbers_are_not_the_systems():
    told = str(as_user_error(ssl.SSLError(errno.ENOSPC, "verify failed: self-signed certificate")))
    assert "self-signed" in told
    assert "space" not in told


def test_what_a_library_was_raised_from_counts_and_our_own_errors_stay_themselves():
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    outer = RuntimeError("the writer failed")
    outer.__cause__ = full
    assert "/tmp/x" in str(as_user_error(outer))
    ours = DataError("no such column")
    assert as_user_error(ours) is ours


@pytest.mark.parametrize(
    "defect",
    [
        KeyError("fleet"),
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_defect_is_a_defect(defect):
    assert as_user_error(defect) is None


def test_a_defect_while_a_mishap_is_handled_is_a_defect():
    defect = TypeError("wrong")
    defect.__context__ = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    assert as_user_error(defect) is None

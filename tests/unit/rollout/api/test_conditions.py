from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from acclimate.bundle.repository import KEYS, create, create_key, refresh
from acclimate.rollout.api.conditions import certificate, heard_of, retraining, signatures
from acclimate.rollout.api.metrics import Collected
from acclimate.rollout.domain.access import AuditEntry
from acclimate.rollout.faults import Faults
from acclimate.rollout.store import Store, open_store
from tests.support.rollout_samples import NOW, a_fleet

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store(f"sqlite:///{tmp_path / 'rollout.db'}")
    opened.add_fleet(a_fleet(), "ada")
    yield opened
    opened.close()


def values(*families) -> dict[tuple[str, ...], float]:
    return {
        (family.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_fleet_of_which_nothing_was_heard_is_silent_not_absent(store: Store):
    found = values(*heard_of(store, NOW))
    assert found == {("acclimate_devices_reporting", "home"): 0, ("acclimate_devices_drifted", "home"): 0}


def test_the_last_retraining_counts(store: Store):
    assert values(retraining(store)) == {}
    for action, failed in (("retraining.fail", 1), ("retraining.start", 1), ("retraining.done", 0)):
        store.add_audit(AuditEntry(NOW, "retraining", action, "t-1", "", "home"))
        assert values(retraining(store)) == {("acclimate_retraining_failed", "home"): failed}


def test_each_role_tells_when_its_signature_ends(tmp_path: Path):
    name = "acclimate_signature_expires_timestamp_seconds"
    assert values(signatures(tmp_path / "tuf")) == {}
    keys = {key: [create_key(tmp_path / f"{key}.pem", None)] for key in KEYS}
    create(tmp_path / "tuf", keys, datetime.fromtimestamp(NOW, UTC))
    found = values(signatures(tmp_path / "tuf"))
    assert set(found) == {(name, role) for role in ("root", "targets", "snapshot", "timestamp")}
    assert found[name, "timestamp"] == pytest.approx(NOW + 2 * DAY, abs=1)
    signers = {signer.public_key.keyid: signer for each in keys.values() for signer in each}
    for later in range(1, 11):  # ten versions: "9" sorts behind "10"
        refresh(tmp_path / "tuf", signers, datetime.fromtimestamp(NOW + later * DAY, UTC), force=True)
    found = values(signatures(tmp_path / "tuf"))
    assert found[name, "timestamp"] == pytest.approx(NOW + 12 * DAY, abs=1)
    assert found[name, "snapshot"] == pytest.approx(NOW + 24 * DAY, abs=1)


def test_the_certificate_tells_when_it_ends(tmp_path: Path):
    key, ends = Ed25519PrivateKey.generate(), datetime(2027, 3, 1, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fleet.example.com")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=90))
        .not_valid_after(ends)
        .sign(key, None)
    )
    (tmp_path / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    [(_, shown)] = values(certificate(str(tmp_path / "tls.crt"))).items()
    assert shown == ends.timestamp()
    assert values(certificate("")) == {}


def test_what_is_collected_is_read_anew_only_when_it_is_old():
    reads: list[int] = []

    def read():
        reads.append(1)
        return []

    kept, fresh = (Collected("x", read, age_s, Faults()) for age_s in (60.0, -1.0))
    for _ in range(3):
        list(kept.collect())
    assert len(reads) == 1
    list(fresh.collect())
    list(fresh.collect())
    assert len(reads) == 3

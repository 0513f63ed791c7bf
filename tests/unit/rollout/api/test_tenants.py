"""One tenant learns nothing of another: no model, no name, no number, no file."""

import json
from datetime import UTC, datetime

import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from acclimate.bundle.repository import KEYS, create, create_key, publish, refresh, rotate
from acclimate_device.protocol import REPOSITORY_PATH
from tests.support.bundle_samples import write_plain_bundle
from tests.unit.rollout.console.test_pages import csrf_of, sign_in

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)


class Site:
    """The world's repository and its keys."""

    def __init__(self, world, tmp_path):
        self.directory, self.tmp_path = world.service.settings.tuf, tmp_path
        self.keys = {key: [create_key(tmp_path / "keys" / f"{key}.pem", None)] for key in KEYS}
        self.signers = {one.public_key.keyid: one for each in self.keys.values() for one in each}
        create(self.directory, self.keys, NOW)

    def publish(self, name, version=1, tenant=""):
        bundle = self.tmp_path / f"{name}-{version}"
        write_plain_bundle(bundle, name=name, version=version, fill=name.encode())
        return publish(self.directory, bundle, self.signers, NOW, tenant=tenant).release


@pytest.fixture
async def site(world, tmp_path):
    for fleet in ("ours", "theirs"):
        await world.call("POST", "/fleets", {"name": fleet}, 201)
    return Site(world, tmp_path)


async def secrets_in(world, headers, paths):
    """Every answer that the caller gets, as one text."""
    answers = [await world.http.get(path, headers=headers) for path in paths]
    return " ".join(answer.text for answer in answers)


async def test_an_operator_of_one_fleet_neither_uses_nor_sees_anothers_release(world, site):
    theirs = site.publish("their-model", 7)
    site.publish("our-model")
    await world.call("PUT", "/fleets/theirs/baseline", {"release": "their-model:7"})
    await world.call("PUT", "/fleets/ours/baseline", {"release": "our-model:1"})
    limited = await world.operator("operator", "ours")
    for method, path, body in (
        ("PUT", "/fleets/ours/baseline", {"release": "their-model:7"}),
        ("PUT", "/fleets/ours/baseline", {"release": "their-model"}),
        ("PUT", "/fleets/ours/baseline", {"release": "their-model:8"}),
        ("POST", "/fleets/ours/rollouts", {"release": "their-model:7"}),
    ):
        answer = await world.http.request(method, f"/api/v1{path}", json=body, headers=limited)
        assert answer.status_code == 422, answer.text
        assert "no bundle of 'their-model' is published" in answer.text
        assert "7" not in answer.text.replace("their-model:7", "")
    known = await world.http.get("/api/v1/releases", headers=limited)
    assert [one["name"] for one in known.json()] == ["our-model"]
    assert (await world.http.get("/api/v1/releases?fleet=theirs", headers=limited)).status_code == 404
    await sign_in(world, limited)
    pages = ("/console/fleets/ours/baseline", "/console/fleets/ours/rollouts/new", "/console/")
    seen = await secrets_in(world, {}, [*pages, "/console/rollouts"])
    assert "our-model" in seen
    assert "their-model" not in seen
    assert theirs.content_hash[:12] not in seen
    form = {"csrf": csrf_of((await world.http.get(pages[0])).text), "release": "their-model:7", "target": ""}
    refused = await world.http.post("/console/fleets/ours/baseline", data=form)
    assert "no bundle of &#39;their-model&#39; is published" in refused.text


async def test_devices_of_a_fleet_with_bundles_of_its_own_read_of_no_other(world, site):
    site.publish("common")
    site.publish("their-model", 7, tenant="theirs")
    site.publish("our-model", tenant="ours")
    await world.call("PUT", "/fleets/ours/baseline", {"release": "our-model:1"})
    refused = await world.call("PUT", "/fleets/ours/baseline", {"release": "common:1"}, 422)
    assert "no bundle of 'common' is published" in refused["detail"]
    device = await world.device("ours")
    names = ("timestamp.json", "1.snapshot.json", "1.targets.json", "1.root.json")
    paths = [f"{REPOSITORY_PATH}/metadata/{name}" for name in names]
    read = await secrets_in(world, device.headers, paths)
    assert "our-model/1/manifest.json" in read
    for hidden in ("their-model", "theirs", "common", '"ours"'):
        assert hidden not in read
    outside = await world.http.get(f"{REPOSITORY_PATH}/metadata/../tenants/theirs/metadata/timestamp.json")
    assert outside.status_code in (401, 404)


async def test_pythons_tuf_client_follows_a_tenants_part_through_a_rotation(world, site, tmp_path):
    site.publish("our-model", tenant="ours")
    device = await world.device("ours")
    root = (site.directory / "metadata" / "1.root.json").read_bytes()

    async def client(number):
        fetched = {}
        for name in [f"{n}.{role}.json" for n in range(1, 5) for role in ("root", "snapshot", "targets")]:
            answer = await world.http.get(f"{REPOSITORY_PATH}/metadata/{name}", headers=device.headers)
            fetched[name] = answer
        name = "timestamp.json"
        fetched[name] = await world.http.get(f"{REPOSITORY_PATH}/metadata/{name}", headers=device.headers)
        updater = Updater(str(tmp_path / f"cache{number}"), "x://", fetcher=Held(fetched), bootstrap=root)
        updater.refresh()
        return updater.get_targetinfo("our-model/1/manifest.json")

    assert await client(1) is not None
    new = create_key(tmp_path / "keys" / "targets-2.pem", None)
    changed = rotate(site.directory, "targets", new, site.signers, NOW)
    assert {"targets", "ours/targets", "ours/timestamp"} <= set(changed)
    assert await client(2) is not None
    held = site.signers | {new.public_key.keyid: new}
    assert "ours/timestamp" in refresh(site.directory, held, NOW, force=True)
    assert await client(3) is not None


class Held(FetcherInterface):
    """What was fetched over the service's own routes."""

    def __init__(self, fetched):
        self._fetched = fetched

    def _fetch(self, url):
        answer = self._fetched.get(url.rpartition("/")[2])
        if answer is None or answer.status_code != 200:
            raise DownloadHTTPError(url, 404)
        yield answer.content


async def test_numbers_of_one_tenant_are_not_in_anothers_answers(world, site):
    site.publish("their-model", 7)
    await world.call("PUT", "/fleets/theirs/baseline", {"release": "their-model:7"})
    await world.device("theirs")
    limited = await world.operator("admin", "ours")
    lists = ("/fleets", "/rollouts", "/tokens", "/audit", "/releases", "/fleets/theirs/counts")
    assert "their-model" not in await secrets_in(world, limited, [f"/api/v1{path}" for path in lists])
    assert json.loads((await world.http.get("/api/v1/fleets", headers=limited)).text)[0]["name"] == "ours"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff", b"[" * 100_000, b"another role's"])
async def test_metadata_that_is_damaged_is_told_by_its_name(world, site, role, content):
    site.publish("common")
    folder = site.directory / "metadata"
    file = max(folder.glob(f"*{role}.json"))
    file.write_bytes((folder / "1.root.json").read_bytes() if content == b"another role's" else content)
    told = await world.call("GET", "/releases", None, 409)
    assert f"{file.name} of the repository is damaged" in told["detail"]

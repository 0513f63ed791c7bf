"""The agent's half of a campaign: nothing before consent, once a round, nothing after it is revoked."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest

from acclimate_device import Device
from acclimate_device.agent import Agent, AgentConfig, Response
from acclimate_device.errors import ConfigError, UntrustedError
from acclimate_device.federated import LEAST_BATCH
from acclimate_device.online.adaptation import take_steps
from acclimate_device.online.contributing import contribution
from acclimate_device.online.learner import Active
from acclimate_device.online.support import Example, Support
from acclimate_device.protocol import (
    CONTRIBUTION_PATH,
    PROBLEM_PREFIX,
    ROUND_PATH,
    Contribution,
    Round,
    dumps,
    loads,
    seal,
)
from acclimate_device.runtime import ClosedFormEngine, GradientEngine
from acclimate_device.storage import CONTRIBUTED, CONTRIBUTION, ROUND, Store
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService

BUNDLE = tiny_bundle("closed-form")


class Asking(SimulatedService):
    """A service that holds a campaign."""

    def __init__(self) -> None:
        super().__init__(SimulatedRepository())
        self.round: Round | None = None
        self.taken: list[Contribution] = []
        self.refuses = 0
        self.paths: list[str] = []
        self.wire = b""

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        self.paths.append(path)
        self.wire += body or b""
        if path == ROUND_PATH and not self.offline:
            if self.round is None:
                return Response(204)
            return Response(200, {}, dumps(seal(self.round, self.key.sign, self.public.key_id)))
        if path == CONTRIBUTION_PATH and not self.offline:
            if self.refuses:
                name = "contribution-refused" if self.refuses == 422 else "unavailable"
                told = {"type": PROBLEM_PREFIX + name, "title": name, "status": self.refuses}
                return Response(self.refuses, {}, json.dumps(told).encode())
            self.taken.append(loads(Contribution, body or b"", 1_000_000))
            return Response(204)
        return super().request(method, path, headers, body, max_bytes)


class Home:
    """A device and its agent on one flash."""

    def __init__(self, tmp_path, consent: bool) -> None:
        self.service, self.flash, self.folder = Asking(), SimulatedFlash(), tmp_path
        self.device = Device(BUNDLE.get, self.flash)
        self.examples = list(GestureDevice(1).examples(24))
        for x, y in self.examples:
            self.device.learn_one(x, y)
        self.start(consent)
        self.agent.service.enrol(self.service.token, "", {}, "")
        engine = self.device._life.active.running.engine
        features = int(engine.start["state.last.mean"].shape[0])
        self.asked = Round(
            id="campaign-1",
            fleet="fleet",
            release=self.device.release,
            numbers=features * (features + 1) // 2 + 3 * features,
            clip=2.0,
            bits=20,
            labels=8,
            quorum=3,
            closes_at=4e9,
        )

    def start(self, consent: bool) -> None:
        root = self.service.repository.root
        self.agent = Agent(self.service, self.flash, root, self.folder / "tuf", contribute=consent)

    def live(self) -> None:
        self.agent.contribute()
        self.device.tick()
        self.agent.contribute()

    def record(self, name: str) -> bytes | None:
        return Store(self.flash).read(name)


@pytest.fixture
def willing(tmp_path) -> Home:
    return Home(tmp_path, True)


def test_without_consent_nothing_is_asked_made_or_sent(tmp_path) -> None:
    home = Home(tmp_path, False)
    home.service.round = home.asked
    home.agent.poll()
    home.live()
    assert not {ROUND_PATH, CONTRIBUTION_PATH} & set(home.service.paths)
    assert home.record(ROUND) is home.record(CONTRIBUTION) is None


def test_with_consent_once_a_round(willing) -> None:
    willing.live()
    assert willing.service.taken == []
    willing.service.round = willing.asked
    willing.live()
    willing.live()
    (given,) = willing.service.taken
    assert given.round == "campaign-1"
    assert len(given.raw) == 4 * willing.asked.numbers
    assert willing.record(ROUND) is willing.record(CONTRIBUTION) is None
    assert willing.record(CONTRIBUTED) == b"campaign-1"


def test_no_window_and_no_label_on_the_wire_or_on_flash(willing) -> None:
    willing.service.round = willing.asked
    willing.agent.contribute()
    willing.device.tick()
    kept = b"".join(willing.flash.read(name) or b"" for name in willing.flash.names(""))
    willing.agent.contribute()
    for x, _ in willing.examples:
        window = np.asarray(x, "<f4").tobytes()[:32]
        assert window not in kept
        assert window not in willing.service.wire
    given = json.loads(dumps(willing.service.taken[0]))
    assert set(given) == {"round", "values", "schema", "right", "tried"}
    assert 0 < given["right"] <= given["tried"] <= 6


def test_counts_of_held_back_examples_would_break_what_the_round_promises(willing) -> None:
    from dataclasses import replace

    for number, promised in enumerate(({"epsilon": 3.0, "delta": 1e-5}, {"kind": "secure-moments"})):
        willing.service.round = replace(willing.asked, id=f"campaign-{number}", **promised)
        willing.agent.contribute()
        willing.device.tick()
        given = loads(Contribution, willing.record(CONTRIBUTION) or b"", 1_000_000)
        assert (given.right, given.tried) == (0, 0)
        Store(willing.flash).delete(CONTRIBUTION)


def test_the_application_says_when_it_is_convenient(tmp_path, caplog) -> None:
    home = Home(tmp_path, True)
    charging = []
    home.device = Device(BUNDLE.get, SimulatedFlash(), may_contribute=lambda: charging[0])
    for x, y in home.examples:
        home.device.learn_one(x, y)
    store = home.device._life._contributing._store
    store.write(ROUND, dumps(home.asked))
    for _ in range(3):
        home.device.tick()  # whose question the application fails to answer
    assert [record.getMessage() for record in caplog.records] == [
        f"event=may_contribute_failed campaign={home.asked.id}"
    ]
    charging.append(False)
    home.device.tick()
    assert store.read(CONTRIBUTION) is None
    charging[0] = True
    home.device.tick()
    assert store.read(CONTRIBUTION) is not None


def test_revoked_consent_removes_what_waits(willing) -> None:
    willing.service.round = willing.asked
    willing.agent.contribute()
    willing.device.tick()
    assert willing.record(CONTRIBUTION) is not None
    willing.start(False)
    willing.live()
    assert willing.record(ROUND) is willing.record(CONTRIBUTION) is None
    assert willing.service.taken == []


def test_what_could_not_be_sent_is_sent_again_and_what_is_refused_is_not(willing) -> None:
    willing.service.round = willing.asked
    willing.agent.contribute()
    willing.device.tick()
    willing.service.refuses = 503
    with pytest.raises(Exception, match="503"):
        willing.agent.contribute()
    first = willing.record(CONTRIBUTION)
    willing.service.refuses = 422
    willing.agent.contribute()
    assert first is not None
    assert willing.record(CONTRIBUTION) is None
    willing.service.refuses = 0
    willing.live()
    assert willing.service.taken == []


def test_a_round_of_another_fleet_or_key_is_not_obeyed(willing) -> None:
    from dataclasses import replace

    willing.service.round = replace(willing.asked, fleet="other")
    with pytest.raises(UntrustedError, match="for fleet other"):
        willing.agent.contribute()
    willing.service.round = replace(willing.asked, closes_at=1.0)
    willing.live()
    assert willing.record(ROUND) is None
    stranger = Asking()
    willing.service.round, willing.service.key = willing.asked, stranger.key
    with pytest.raises(UntrustedError):
        willing.agent.contribute()


def test_consent_is_a_word_of_the_owners(tmp_path) -> None:
    needed = {"service": "https://fleet.example.org", "state": "state", "root": "root.json"}
    assert not AgentConfig.of(needed, tmp_path).contribute
    assert AgentConfig.of(needed | {"contribute": True}, tmp_path).contribute
    with pytest.raises(ConfigError, match="contribute is 'yes'"):
        AgentConfig.of(needed | {"contribute": "yes"}, tmp_path)


def learnt(bundle: Mapping[str, bytes], number: int) -> tuple[Active, list[Example]]:
    """What a device that knows nothing yet would give, and some of its examples."""
    active = Device(bundle.get, SimulatedFlash())._life.active
    stream = GestureDevice(1).examples(number)
    checked = [(active.schema.input(x), active.schema.target(y)) for x, y in stream]
    return active, [Example(order, *one) for order, one in enumerate(checked)]


def asks(active: Active, numbers: int, **fields: object) -> Round:
    return Round("campaign-1", "fleet", active.running.release, numbers, 1e5, 12, 8, 3, 4e9, **fields)


def numbers_of(given: Contribution | None) -> np.ndarray:
    assert given is not None
    return np.frombuffer(given.raw, "<i4") / 2.0**12


@pytest.mark.parametrize("number", [16, 17])
def test_moments_are_those_of_the_bodys_features_and_of_labels_less_an_even_share(number: int) -> None:
    active, examples = learnt(BUNDLE, number)
    engine, schema = active.running.engine, active.schema
    assert isinstance(engine, ClosedFormEngine)
    phi = engine.features(engine.start, schema.normalize(np.stack([one.x for one in examples])))["phi"]
    labels = np.eye(3)[[one.target for one in examples]] - 1 / 3
    wanted = np.concatenate(
        [(phi.T @ phi / number)[np.triu_indices(phi.shape[1])], (phi.T @ labels / number).ravel()]
    )
    given = contribution(active, examples, asks(active, len(wanted)))
    np.testing.assert_allclose(numbers_of(given), wanted, atol=2.0**-12)
    assert given.tried == -(-number // 4)
    assert contribution(active, examples, asks(active, len(wanted) + 1)) is None
    assert contribution(active, examples[:7], asks(active, len(wanted))) is None


@pytest.mark.parametrize("number", [LEAST_BATCH, LEAST_BATCH + 1])
def test_a_gradient_is_the_way_from_all_examples_back_to_the_start(number: int) -> None:
    active, examples = learnt(tiny_bundle(), number)
    engine, schema = active.running.engine, active.schema
    assert isinstance(engine, GradientEngine)
    support = Support(schema, number, 1, 10**6)  # everything supports
    for one in examples:
        support.add(one.x, one.target)
    ends = take_steps(engine, engine.start, support.batches(engine.adaptation.batch))
    wanted = np.concatenate([(engine.start[name] - ends[name]).ravel() for name in engine.moving])
    assert np.abs(wanted).max() > 0.01
    given = contribution(active, examples, asks(active, len(wanted), kind="gradients"))
    np.testing.assert_allclose(numbers_of(given), wanted, atol=2.0**-12)
    moments = asks(active, len(wanted), kind="moments")
    assert contribution(active, examples, moments) is None  # a bundle of gradient steps has no such thing
    assert (
        contribution(active, examples[: LEAST_BATCH - 1], asks(active, len(wanted), kind="gradients")) is None
    )

import pytest

from acclimate.errors import ScenarioError
from acclimate.simulation import Scenario, load_scenario, shipped_scenarios
from acclimate.simulation.scenario import seconds
from acclimate.simulation.scenario_file import scenario_keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("90s", 90.0), ("1.5min", 90.0), ("6 h", 21_600.0), ("7d", 604_800.0)],
)
def test_durations_are_read_with_their_unit(text: str, expected: float):
    assert seconds(text) == expected


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_is_valid_and_named_as_its_file(name: str):
    assert load_scenario(name).name == name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("devises=3", "did you mean 'devices'"),
        ("stream.evry=3", "did you mean 'every'"),
        ("duration=soon", "write seconds"),
        ("labels.share=1.5", "labels.share is 1.5"),
        ("duration=1h", "rolled out at"),
        ("rollouts=[{at: 1h, version: 2, waves: ten}]", "wave 'ten' is not understood"),
        ("rollouts=[{at: 1h, version: 2, plan: {silense_s: 3}}]", "plan.silense_s"),
        ("drifts=[{name: a, kind: scale, siz: 3}]", "did you mean 'size'"),
        ("policy={evry: 3}", "no 'evry': known are shots"),
        ("policy={every: often}", "every: Input should be a valid integer"),
        ("policy={hold_back: 0}", "hold_back is 0: use 1 or more"),
        ("input_shift={blocks: 3}", "'blocks'"),
        ("input_shift={block: 0}", "block is 0"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(change: str, said: str):
    with pytest.raises(ScenarioError) as caught:
        load_scenario("gestures", [change])
    assert said in str(caught.value)


def test_no_such_scenario_names_the_shipped_ones():
    with pytest.raises(ScenarioError, match="gestures"):
        load_scenario("gesture")


def test_two_drifts_cannot_share_a_name():
    drift = {"name": "a", "kind": "scale"}
    with pytest.raises(ValueError, match="repeat a name"):
        Scenario(name="x", drifts=[drift, drift])


def test_every_key_is_listed_with_its_default_and_the_choices_there_are():
    keys = {key: (default, meaning) for key, default, meaning in scenario_keys()}
    assert keys["stream.every"][0] == "60.0"
    assert keys["drifts[].kind"][0] == "(required)"
    assert all(f"`{kind}`" in keys["drifts[].kind"][1] for kind in ("other-task", "rotation", "dead-channel"))
    assert all(meaning for _, meaning in keys.values())

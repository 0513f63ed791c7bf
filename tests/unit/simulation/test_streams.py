import json

import pytest

from acclimate.errors import ScenarioError
from acclimate.simulation.scenario import StreamSection
from acclimate.simulation.simulate import check_fit
from acclimate.simulation.streams import Gestures, interleaved, open_streams
from acclimate_device.protocol import MANIFEST
from acclimate_device.testing import tiny_bundle

READ = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b")]


@pytest.mark.parametrize(
    ("whole_rounds", "expected"),
    [(False, ["a1", "b1", "a2", "b2", "a3"]), (True, ["a1", "b1", "a2", "b2"])],
)
def test_labels_take_turns(whole_rounds, expected):
    assert [x for x, _ in interleaved(READ, whole_rounds)] == expected


def test_a_bundle_that_knows_other_labels_or_shapes_is_refused():
    check_fit(Gestures(), tiny_bundle())
    for change, said in (
        ({"output": {"labels": ["tap", "wave", "shake"]}}, "the label 'circle'"),
        ({"input": {"shape": [3, 9]}}, r"shape \(3, 8\), the bundle takes \(3, 9\)"),
    ):
        files = tiny_bundle()
        manifest = json.loads(files[MANIFEST])
        for part, values in change.items():
            manifest[part] |= values
        with pytest.raises(ScenarioError, match=said):
            check_fit(Gestures(), {**files, MANIFEST: json.dumps(manifest).encode()})


def test_gestures_take_nothing_that_is_for_recordings():
    with pytest.raises(ScenarioError, match="for recordings"):
        open_streams(StreamSection(tasks=("a",)))

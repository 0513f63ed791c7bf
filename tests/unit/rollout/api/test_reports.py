"""What a request of reports holds, and the text that is kept of each."""

import json

import pytest

from acclimate.rollout.api.reports import read_batch
from acclimate_device.protocol import Report, ReportBatch, Summary, dumps, read
from tests.support.rollout_samples import OLD

ONE = Report("a" * 32, 1.0, 2.0, OLD, 1, "a", adapted_loss=Summary(3, 1.5, 0.9, 0.7, ((-1, 1), (2, 2))))
PLAIN = json.loads(dumps(ReportBatch((ONE,))))["reports"][0]


def kept(body: bytes) -> list[str]:
    return [text for _, text in read_batch(body, "").reports]


def test_a_report_alone_is_kept_as_it_came():
    body = dumps(ReportBatch((ONE,)))
    assert kept(body) == [body[len('{"reports":[') : -len('],"schema":1}')].decode()]
    assert read_batch(body, "").reports[0][0] == ONE


@pytest.mark.parametrize(
    "layout",
    [
        '{"schema":1,"reports":[%s]}',
        '{"reports":[%s],"more":[5],"schema":1}',
        '{"reports":[%s],"more":{"reports":[1],"schema":1},"schema":1}',
        ' {"reports" : [ %s ] , "schema":1}',
        '{"reports":[%s,%s],"schema":1}',
    ],
)
def test_whatever_stands_around_it_no_other_text_is_kept_with_a_report(layout: str):
    second = PLAIN | {"id": "b" * 32}
    texts = [json.dumps(one, separators=(",", ":")) for one in (PLAIN, second)][: layout.count("%s")]
    assert kept((layout % tuple(texts)).encode()) == texts


def test_fields_that_only_a_newer_reader_knows_are_kept_in_ascii():
    given = PLAIN | {"colour": "grün", "nested": {"reports": "],"}}
    body = json.dumps({"reports": [given], "schema": 1}, ensure_ascii=False, separators=(",", ":")).encode()
    (text,) = kept(body)
    assert text.isascii()
    assert json.loads(text) == given


def test_messages_read_are_equal_to_messages_made_and_share_nothing():
    first, second = read(Report, PLAIN), read(Report, PLAIN)
    assert first == second == ONE
    assert hash(first.adapted_loss) == hash(ONE.adapted_loss)
    assert first.refusals is not second.refusals
    with pytest.raises(AttributeError):
        first.counter = 2  # type: ignore[misc] # the point of the test

import math
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from acclimate.rollout.console.charts import Point, Rule, Segment, Series, line_chart, sparkline, track

SVG = "{http://www.w3.org/2000/svg}"


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def test_a_chart_draws_line_band_and_rule_where_the_values_are():
    points = [Point(0, 1.0, 0.0, 2.0), Point(60, 3.0, 2.0, 4.0)]
    chart = parse(line_chart("Effect", "", [Series("canary", "canary", points)], [Rule(2.0, "limit", "bad")]))
    line = chart.find("path[@class='line canary']").get("d")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line[1:].split("L"))
    rule = float(chart.find("line[@class='rule bad']").get("y1"))
    assert x0 < x1
    assert y0 > rule > y1  # upwards is more
    assert math.isclose(rule, (y0 + y1) / 2, abs_tol=0.2)
    assert chart.find("path[@class='band canary']").get("d").count(",") == 4


def test_an_unknown_limit_reaches_the_edge_of_the_axis():
    points = [Point(0, 1.0, -math.inf, 2.0), Point(60, 1.0, 0.5, 1.5)]
    chart = parse(line_chart("Effect", "", [Series("canary", "canary", points)], height=200))
    band = chart.find("path[@class='band canary']").get("d").rstrip("Z").split("L")
    assert float(band[-1].split(",")[1]) == 200 - 24


def test_names_are_escaped():
    chart = line_chart("<script>", '"', [Series("<b>", "canary", [Point(0, 1.0)])])
    assert "<script>" not in chart
    assert parse(chart).get("aria-label") == '<script>. "'


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2e9),
            st.floats(-1e12, 1e12),
            st.one_of(st.floats(-1e12, 1e12), st.just(-math.inf), st.just(math.nan)),
        ),
        max_size=20,
    )
)
def test_every_series_gives_a_well_formed_picture_within_its_frame(rows):
    points = [Point(at, value, low, value) for at, value, low in sorted(rows, key=lambda row: row[0])]
    chart = parse(line_chart("t", "d", [Series("s", "canary", points)], width=360, height=200))
    for path in chart.findall("path"):
        for pair in path.get("d").strip("MZ").split("L"):
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 360
            assert 0 <= y <= 200


def test_a_sparkline_needs_a_value_and_shows_a_single_one():
    assert sparkline("drift", []) == sparkline("drift", [math.nan]) == ""
    assert "path" in sparkline("drift", [1.0])
    assert "path" in sparkline("drift", [1.0, 2.0])


def test_a_lone_high_point_among_few_is_marked():
    points = [Point(3600.0 * hour, 60.0 if hour == 2 else 0.0) for hour in range(5)]
    drawn = parse(line_chart("Drift", "", [Series("drift", "effect", points)]))
    assert len(drawn.findall("circle")) == 5
    many = [Point(float(number), 1.0) for number in range(200)]
    assert len(parse(line_chart("Drift", "", [Series("drift", "effect", many)])).findall("circle")) == 1


def test_a_track_shares_its_width_by_devices():
    segments = [Segment(0.1, "done", "wave 1"), Segment(0.9, "now", "wave 2")]
    first, second = parse(track("Waves", "", segments, width=503)).findall("rect")
    assert math.isclose(float(second.get("width")) / float(first.get("width")), 9.0, rel_tol=0.01)

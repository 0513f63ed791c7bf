import re

from markupsafe import Markup

from acclimate.demo.chapters import Chapter
from acclimate.demo.page import page
from acclimate.rollout.console.charts import Mark, Point, Series, line_chart
from acclimate.rollout.console.pictures import Picture

PICTURE = Picture(
    "Accuracy, %",
    "What it says.",
    line_chart(
        "Accuracy",
        "",
        [Series("a", "effect", [Point(0, 1), Point(9, 2)])],
        axis="count",
        marks=[Mark(4, "arms <change>")],
    ),
    [("effect", "accuracy")],
    ["Second", "Accuracy"],
    [["1", "97"]],
)


def rendered(**chapter):
    told = Chapter(
        "A <b>title</b>", ("Some & text",), (("figure", "97 %"),), (PICTURE,), Markup("<svg></svg>")
    )
    return page(["Opening"], [("devices", "60")], PICTURE, [told], [("MLflow", "http://127.0.0.1:5000")])


def test_everything_told_is_on_the_page_and_escaped():
    html = rendered()
    assert "A &lt;b&gt;title&lt;/b&gt;" in html
    assert "Some &amp; text" in html
    assert "arms &lt;change&gt;" in html
    assert "<dd>97 %</dd>" in html
    assert 'href="http://127.0.0.1:5000"' in html


def test_the_page_needs_nothing_but_itself():
    html = rendered().replace("http://127.0.0.1:5000", "")
    assert not re.search(r"https?://", html)
    assert not re.search(r"<(script|iframe|object|link[^>]+stylesheet)", html)
    assert "url(" not in html
    assert "@import" not in html


def test_dark_mode_and_small_screens_are_styled():
    html = rendered()
    assert "prefers-color-scheme: dark" in html
    assert "max-width: 620px" in html
    assert 'name="viewport"' in html

"""How a text writes a moment: patterns of the calendar and the clock, told from an example.

A pattern is a regular expression whose groups are called `year`, `month`, `day` and so on; where the example
can be read in several orders, there is one for each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

_MONTHS_OF = (
    "january jan januar januari jänner janvier janv janeiro gennaio gen enero ene",
    "february feb februar februari février fevrier fév fev févr fevr febrero febbraio fevereiro",
    "march mar märz mär mrz maart mrt maa mars marzo março",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio mei",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug augustus août aout aoû agosto ago",
    "september sep sept septembre septiembre setiembre settembre setembro set",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez décembre decembre déc diciembre dicembre dic dezembro",
)
_MONTHS = {name: at + 1 for at, names in enumerate(_MONTHS_OF) for name in names.split()}
"""In English, German, Spanish, French, Italian, Portuguese and Dutch, whole and as people cut them short."""
_ENGLISH_DAYS = "mon tue tues wed thu thur thurs fri sat sun"
_ENGLISH_DAYS += " monday tuesday wednesday thursday friday saturday sunday"
_WEEKDAYS = frozenset(_ENGLISH_DAYS.split())
_IN_DATES = "年 月 日 년 월 일 de del di den der le the of"
_BEHIND_DATES = "t h uhr à a at um om kl uur 時 时 分 秒 点 點 日 시 분 초 일 min m s de le"
_DATE_WORDS, _CLOCK_WORDS = frozenset(_IN_DATES.split()), frozenset(_BEHIND_DATES.split())
"""What is written between the parts of a date, and behind it; any other word may be a thing's name."""

ZONE = r"(?P<zone>[Zz]|(?:UTC|GMT)?[+-][0-9]{1,2}(?::?[0-9]{2})?|[A-Z]{2,5})"
_YEAR, SHORT_YEAR = r"(?P<year>[0-9]{4})", r"(?P<year>[0-9]{2})"
_MONTH, _DAY = r"(?P<month>[0-9]{1,2})", r"(?P<day>[0-9]{1,2})"
NAME = r"(?P<month>\pL{3,10})\.?"
_PACKED = _YEAR + r"(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
_WEEK = _YEAR + r"-?W(?P<week>[0-9]{2})-?(?P<weekday>[1-7])"
_OF_YEAR = _YEAR + r"-(?P<yearday>[0-9]{3})"
_FRACTION = r"(?P<fraction>[0-9]{1,9})"
_PARTED = r"(?P<fraction>[.,][0-9]{1,9}|:(?:[0-9]{3}){1,3})?"
_CLOCK = rf"(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-9]{{1,2}})(?::(?P<second>[0-9]{{1,2}}){_PARTED})?"
_PACKED_CLOCK = rf"(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?:(?P<second>[0-9]{{2}})(?:[.,]{_FRACTION})?)?"
_WEEKDAY = r"\pL{2,9}\.?"
_HALF = r"(?P<half>[AaPp]\.?\s?[Mm]\.?)"
_STEPS = (
    r"(?P<hour>[0-9]{1,2})",
    r"(?P<minute>[0-9]{1,2})",
    r"(?P<second>[0-9]{1,2})",
    r"(?P<fraction>(?:[0-9]{3}){1,3})",  # of 5 and 50 nobody knows what they count
)
_TWO_DIGITS = "[0-9]{2}"
"""Of what stands behind a point, for 14.5 may be half past two."""
_REMARK = r"\s*(?:[\[(][^0-9]*[\])])?"
"""Says a zone once more."""
_SPOKEN = {
    _CLOCK: "hour:minute",
    _PACKED_CLOCK: "hourminute",
    _PACKED: "yearmonthday",
    r"\s*" + ZONE: " zone",
    _WEEK: "year-Wweek-weekday",
    _OF_YEAR: "year-day",
    _YEAR: "year",
    SHORT_YEAR: "year of two digits",
    _MONTH: "month",
    _DAY: "day",
    NAME: "month's name",
    _HALF: " AM or PM",
    _WEEKDAY: "weekday",
    **dict(zip(_STEPS, ("hour", "minute", "second", "fraction"), strict=True)),
    **{f"(?P<{part}>{_TWO_DIGITS})": part for part in ("minute", "second")},
    _REMARK: "",
    r"\s*$": "",
    r"^\s*": "",
    r"\s+": " ",
    r"\s*": "",
    "(?:": "",
    ")?": "",
    "\\": "",
}


def _bare(pattern: str) -> str:
    return re.sub(r"\(\?P<[a-z]+>", "(?:", pattern)


_TOKEN = re.compile(
    rf"(?P<clock>{_bare(_CLOCK)}(?![0-9]))|(?P<week>{_bare(_WEEK)})|(?P<ofyear>{_bare(_OF_YEAR)}(?![0-9]))"
    rf"|(?P<packed>(?:19|20)[0-9]{{6}}(?![0-9]))|(?P<number>[0-9]+)|(?P<half>(?<![^\W\d_])[AaPp]\.?\s?[Mm]\b\.?)"
    rf"|(?P<word>[^\W\d_]+)|(?P<blank>\s+)|(?P<other>.)",
    re.DOTALL,
)
_BEHIND = re.compile(rf"\s*{_bare(ZONE)}(?![A-Za-z0-9])")
_DENSE = re.compile(rf"{_bare(_PACKED_CLOCK)}(?![0-9])")
_HALF_OF_DAY = re.compile("[AaPp][Mm]")


def patterns(example: str) -> Iterator[str]:
    """Every way to read an example of a moment; none where it is no moment."""
    pieces = _pieces(_without_remark(example.strip()))
    if any(kind == "word" for kind, _ in pieces) or _is_lone_number(pieces):
        return
    dates = [at for at, (kind, _) in enumerate(pieces) if kind in ("date", "name", "number")]
    for order in _orders([pieces[at] for at in dates]):
        made = dict(zip(dates, order, strict=True))
        texts = [made.get(at, text) for at, (_, text) in enumerate(pieces)]
        kinds = [kind for kind, _ in pieces]
        begin = _may_end_before(kinds)
        if begin is not None:
            texts = [*texts[:begin], "(?:", *texts[begin:], ")?"]
        yield rf"^\s*{''.join(texts)}{_REMARK if 'zone' in kinds else ''}\s*$"


def _is_lone_number(pieces: Sequence[tuple[str, str]]) -> bool:
    """Whether one number stands behind a date, as in the address 10.1.20.1, and nothing calls it an hour."""
    kinds = [kind for kind, _ in pieces]
    if kinds.count("step") != 1:
        return False
    return not any(kind == "half" or text.isalpha() for kind, text in pieces[kinds.index("step") :])


def lacks_year(example: str) -> bool:
    """Whether a text holds a month's name, a day and a time of day, and no year, as syslog does."""
    kinds = [kind for kind, _ in _pieces(example.strip())]
    dated = sorted(kind for kind in kinds if kind in ("date", "name", "number", "word"))
    return "clock" in kinds and dated == ["name", "number"]


def order(pattern: str) -> str:
    """Whether day, month or year comes first; empty where the pattern leaves no doubt."""
    if any(sure in pattern for sure in (_PACKED, _WEEK, _OF_YEAR)) or _DAY not in pattern:
        return ""
    if is_named(pattern) and not is_short(pattern):
        return ""
    if pattern.index("<year>") < pattern.index("<day>") and _YEAR in pattern:
        return ""
    return min(("day", "month", "year"), key=lambda one: pattern.index(f"<{one}>")) + " first"


def is_short(pattern: str) -> bool:
    """Whether years have two digits."""
    return SHORT_YEAR in pattern


def is_named(pattern: str) -> bool:
    """Whether months are written by name."""
    return NAME in pattern


def is_dotted(pattern: str) -> bool:
    """Whether points part day, month and year, which nobody does who writes the month first."""
    return rf"{_MONTH}\.{_DAY}" in pattern or rf"{_DAY}\.{_MONTH}" in pattern


def is_vague(pattern: str) -> bool:
    """Whether names of things are written so too: a month with a year, or `Set 16 03`, and nothing more."""
    if "<hour>" in pattern or not pattern.startswith("^"):
        return False
    of_month = "<month>" in pattern and "<day>" not in pattern
    return of_month or (is_short(pattern) and pattern.startswith(rf"^\s*{NAME}"))


def reaches(longer: str, shorter: str) -> bool:
    """Whether a pattern is another with a time of day behind it that may be left out."""
    return longer.startswith(shorter.removesuffix(r"\s*$") + "(?:")


def spoken(pattern: str) -> str:
    """A pattern in a person's words, such as `day.month.year hour:minute`."""
    for group, word in _SPOKEN.items():
        pattern = pattern.replace(group, word)
    return " ".join(pattern.split())


def _pieces(text: str) -> list[tuple[str, str]]:
    """The text part by part: its kind and the pattern of its like, numbers of a date as they stand."""
    pieces: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        kinds = [kind for kind, _ in pieces]
        found = _zone(text, at, kinds)
        if found is not None:
            pieces.append(("zone", r"\s*" + ZONE))
        elif _is_dated(kinds) and not {"clock", "step"} & set(kinds) and (found := _DENSE.match(text, at)):
            pieces.append(("clock", _PACKED_CLOCK))
        else:
            found = _TOKEN.match(text, at)
            assert found is not None  # `other` takes anything
            behind_point = bool(pieces) and pieces[-1][1] in (r"\.", ",")
            pieces.append(_piece(found.lastgroup or "", found[0], kinds, behind_point))
        at = found.end()
    return pieces


def _without_remark(text: str) -> str:
    """Without what is said in brackets behind a zone, such as the zone's name."""
    found = re.search(_REMARK + r"\s*$", text)
    bare = text[: found.start()] if found is not None else text
    return bare if any(kind == "zone" for kind, _ in _pieces(bare)) else text


def _zone(text: str, at: int, kinds: Sequence[str]) -> re.Match[str] | None:
    """A zone right behind a time of day; behind one without colons only letters, for a minus may part it."""
    if "zone" in kinds or not ("clock" in kinds or kinds.count("step") > 1):
        return None
    found = _BEHIND.match(text, at)
    if (
        found is None
        or _HALF_OF_DAY.fullmatch(found[0].strip())
        or ("step" in kinds and not found[0][-1:].isalpha())
    ):
        return None
    return found if _is_dated(kinds) or re.search("[0-9]", text[found.end() :]) else None


def _is_dated(kinds: Sequence[str]) -> bool:
    """Whether the day, month and year are there already."""
    return "date" in kinds or sum(kind in ("number", "name") for kind in kinds) >= 3


def _piece(kind: str, text: str, before: Sequence[str], behind_point: bool) -> tuple[str, str]:
    timed = "clock" in before or "step" in before
    if kind == "clock" and not timed:
        return "clock", _CLOCK
    if kind in ("packed", "week", "ofyear"):
        return "date", {"packed": _PACKED, "week": _WEEK, "ofyear": _OF_YEAR}[kind]
    steps = before.count("step")
    if kind == "number" and _is_dated(before) and "clock" not in before and steps < len(_STEPS):
        return "step", _STEPS[steps].replace("[0-9]{1,2}", _TWO_DIGITS if behind_point else "[0-9]{1,2}")
    if kind == "number":
        return "number", text
    if kind == "half" and timed:
        return "half", _HALF
    if kind == "word" and "zone" in before and text.isupper():
        return "mark", text  # names the zone once more
    if kind == "word":
        return _word(text, _CLOCK_WORDS if timed or _is_dated(before) else _DATE_WORDS if before else ())
    return ("blank", r"\s+") if kind == "blank" else ("mark", re.escape(text))


def _word(text: str, known: Collection[str]) -> tuple[str, str]:
    """What a word of a moment says; `word` where it may be part of a name."""
    if month(text):
        return "name", text
    if text.lower() in _WEEKDAYS:
        return "weekday", _WEEKDAY
    return "mark" if text.lower() in known else "word", re.escape(text)


def month(text: str) -> int | None:
    return _MONTHS.get(text.lower())


def _orders(tokens: Sequence[tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    """What the numbers and names of a date may be, as patterns."""
    kinds = tuple(kind for kind, _ in tokens)
    if kinds == ("date",):
        yield (tokens[0][1],)
        return
    lengths = [len(text) if kind == "number" else 1 for kind, text in tokens]
    if not {*lengths} <= {1, 2, 4} or kinds.count("name") > 1 or not 2 <= len(tokens) <= 3:
        return
    full = [at for at, (kind, text) in enumerate(tokens) if kind == "number" and len(text) == 4]
    if len(full) > 1:
        return
    if "name" in kinds:
        year = full[0] if full else len(tokens) - 1
        if kinds[year] == "name" or (len(tokens) == 2 and not full):
            return
        roles = {kinds.index("name"): NAME, year: _YEAR if full else SHORT_YEAR}
        yield tuple(roles.get(at, _DAY) for at in range(len(tokens)))
        if not full and kinds[1] == "name" and lengths[0] == 2:
            yield SHORT_YEAR, NAME, _DAY
    elif len(tokens) == 2:
        if full:
            yield (_YEAR, _MONTH) if full == [0] else (_MONTH, _YEAR)
    elif full == [0]:
        yield _YEAR, _MONTH, _DAY
    elif full == [2] or not full:
        last = _YEAR if full else SHORT_YEAR
        yield _DAY, _MONTH, last
        yield _MONTH, _DAY, last
        if not full and lengths[0] == 2:
            yield SHORT_YEAR, _MONTH, _DAY


def _may_end_before(kinds: Sequence[str]) -> int | None:
    """Where a text may end: before the time of day, which spreadsheets leave out at midnight."""
    first = next((at for at, kind in enumerate(kinds) if kind in ("clock", "step")), None)
    if first is None or {"number", "name", "date", "zone"} & set(kinds[first:]):
        return None
    while first > 0 and kinds[first - 1] in ("blank", "mark"):
        first -= 1
    return first or None

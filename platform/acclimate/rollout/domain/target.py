"""Targets: which devices a rollout concerns, as an expression over their attributes.

    site == "A" and (memory_mb >= 64 or model in ["x1", "x2"]) and not has(beta) and firmware != "1.0"

The grammar is small and closed: comparisons, `in`, `has(name)`, `and`, `or`, `not`, parentheses. Nothing in
it calls out, loops or backtracks, so matching a device takes time linear in the expression. A comparison with
an attribute that a device lacks, or of another type, is false: it never fails at poll time.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from acclimate.errors import RolloutError
from acclimate.rollout.domain.fleet import Attributes, AttributeValue

Match = Callable[[Attributes], bool]

MAX_LENGTH = 2_000
MAX_DEPTH = 32

_TOKENS = re.compile(
    r"""\s*(?:
        (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
      | (?P<string>"(?:[^"\\]|\\["\\])*"|'(?:[^'\\]|\\['\\])*')
      | (?P<operator><=|>=|==|!=|<|>)
      | (?P<punctuation>[()\[\],])
      | (?P<word>[A-Za-z_][\w.-]*)
    )""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[AttributeValue, AttributeValue], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RESERVED = {"and", "or", "not", "in", "has", "true", "false"}


@functools.lru_cache(maxsize=1024)
def parse_target(text: str) -> Match:
    """A predicate over attributes; the empty expression matches every device.

    Raises:
        RolloutError: with the position, what was found there and what would fit.
    """
    if not text.strip():
        return lambda attributes: True
    if len(text) > MAX_LENGTH:
        raise RolloutError(f"the target has {len(text)} characters, at most {MAX_LENGTH} are accepted")
    parser = _Parser(text, _tokenize(text))
    match = parser.disjunction(0)
    parser.end()
    return match


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokenize(text: str) -> list[_Token]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        found = _TOKENS.match(text, position)
        if found is None or found.lastgroup is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise RolloutError(
                f"target: {text[start : start + 12]!r} at position {start} is not understood in {text!r}: "
                'compare an attribute with a value, as in site == "A"'
            )
        kind = found.lastgroup
        tokens.append(_Token(kind, found.group(kind), found.start(kind)))
        position = found.end()
    tokens.append(_Token("end", "the end", end))
    return tokens


class _Parser:
    """Recursive descent over the tokens: or < and < not < comparison."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text, self._tokens, self._at = text, tokens, 0

    def disjunction(self, depth: int) -> Match:
        parts = [self._conjunction(depth)]
        while self._take("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else lambda attributes: any(part(attributes) for part in parts)

    def end(self) -> None:
        if self._next.kind != "end":
            raise self._wanted("and, or, or the end")

    def _conjunction(self, depth: int) -> Match:
        parts = [self._negation(depth)]
        while self._take("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else lambda attributes: all(part(attributes) for part in parts)

    def _negation(self, depth: int) -> Match:
        if depth > MAX_DEPTH:
            raise RolloutError(f"target: nested more than {MAX_DEPTH} deep: simplify {self._text[:60]!r}…")
        if self._take("not"):
            inner = self._negation(depth + 1)
            return lambda attributes: not inner(attributes)
        if self._take("("):
            match = self.disjunction(depth + 1)
            self._expect(")")
            return match
        return self._condition()

    def _condition(self) -> Match:
        if self._take("has"):
            self._expect("(")
            present = self._attribute()
            self._expect(")")
            return lambda attributes: present in attributes
        name = self._attribute()
        if self._take("in"):
            values = self._list()
            return lambda attributes: any(_same(attributes.get(name), value) for value in values)
        token = self._next
        if token.kind != "operator":
            raise self._wanted("a comparison (==, !=, <, <=, >, >=, in)")
        self._at += 1
        return _comparison(name, token.text, self._value())

    def _attribute(self) -> str:
        token = self._next
        if token.kind != "word" or token.text in _RESERVED:
            raise self._wanted("the name of an attribute")
        self._at += 1
        return token.text

    def _list(self) -> tuple[AttributeValue, ...]:
        self._expect("[")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect("]")
        return tuple(values)

    def _value(self) -> AttributeValue:
        token = self._next
        self._at += 1
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "string":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.text in ("true", "false"):
            return token.text == "true"
        self._at -= 1
        hint = f'; put text in quotes: "{token.text}"' if token.kind == "word" else ""
        raise self._wanted(f"a number, a quoted text, true or false{hint}")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        if self._next.text == text and self._next.kind in ("word", "punctuation"):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._wanted(text)

    def _wanted(self, what: str) -> RolloutError:
        token = self._next
        return RolloutError(
            f"target: {what} is expected at position {token.position}, not {token.text}, in {self._text!r}"
        )


def _comparison(name: str, symbol: str, value: AttributeValue) -> Match:
    compare = _COMPARE[symbol]

    def match(attributes: Attributes) -> bool:
        found = attributes.get(name)
        return found is not None and _comparable(found, value) and compare(found, value)

    return match


def _same(found: AttributeValue | None, value: AttributeValue) -> bool:
    return found is not None and _comparable(found, value) and found == value


def _comparable(one: AttributeValue, other: AttributeValue) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return isinstance(one, bool) and isinstance(other, bool)
    return isinstance(one, str) == isinstance(other, str)

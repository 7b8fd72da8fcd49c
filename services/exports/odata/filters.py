"""Reads ``$filter`` (OData 4.0, part 2, 5.1.1) into a tree. It refuses unknown syntax and never passes it on.
Pure."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import NamedTuple

from services.exports.odata.errors import bad, unsupported
from services.exports.odata.terms import Call, Compare, In, Literal, Logic, Member, Not, Property, Term, Value

#: Function → numbers of arguments.
FUNCTIONS = {
    **dict.fromkeys(("contains", "startswith", "endswith"), 2),
    **dict.fromkeys(("tolower", "toupper", "length", "trim"), 1),
    **dict.fromkeys(("year", "month", "day", "hour", "minute", "second", "date"), 1),
}
_COMPARISONS = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_ELSEWHERE = frozenset({"add", "sub", "mul", "div", "divby", "mod", "has"})
_WORDS: dict[str, Value] = {"null": None, "true": True, "false": False}
MAX_LENGTH = 8_000
MAX_DEPTH = 40

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,12})?)?(?:Z|[+-]\d\d:\d\d)\b)
    |(?P<date>\d{4}-\d\d-\d\d\b)
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)
    |(?P<word>[A-Za-z_][A-Za-z0-9_.]*)
    |(?P<mark>[(),/:])""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str) -> Term:
    """The tree of an expression that is true or false. Raises ODataError: 400 for invalid OData, 501 for valid
    OData that is not supported here."""
    if len(text) > MAX_LENGTH:
        raise bad("$filter", f"is longer than {MAX_LENGTH:,} characters")
    if "\0" in text:
        raise bad("$filter", "must not contain the character NUL")
    parser = _Parser(list(_tokens(text)))
    term = parser.boolean()
    parser.end()
    return term


def literal(text: str, target: str) -> Value:
    """One literal, as in a key. Raises ODataError."""
    try:
        [token] = _tokens(text)
    except ValueError:
        raise bad(target, f"is not a single literal: {text}") from None
    return _value(token, target)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise bad("$filter", f"has a syntax error at character {at + 1}: {text[at : at + 20]}")
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found.group(), at)
        at = found.end()


def _value(token: _Token, target: str) -> Value:
    kind, text, at = token
    try:
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "time":
            whole, point, rest = text.upper().partition(".")
            if point:  # datetime stores six digits
                digits = re.match(r"\d+", rest)
                assert digits
                whole = f"{whole}.{digits.group()[:6]:0<6}{rest[digits.end() :]}"
            # At the edges, an offset leads out of the years that there are.
            return datetime.fromisoformat(whole).astimezone(UTC)
        if kind == "date":
            return date.fromisoformat(text)
        if kind == "number":
            number = float(text) if re.search("[.eE]", text) else int(text)
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise bad(target, f"{text} does not fit into 64 bits")
            return number
    except (ValueError, OverflowError):
        raise bad(target, f"{text} is not a valid {kind}") from None
    if kind == "word" and text in _WORDS:
        return _WORDS[text]
    raise bad(target, f"there must be a literal at character {at + 1}, not {text}")


class _Parser:
    """Precedence, loosest first: or, and, not, comparison."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def boolean(self) -> Term:
        with self._deeper():
            return self._chain("or", lambda: self._chain("and", self._not))

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise bad("$filter", f"is nested more than {MAX_DEPTH} deep")
        yield
        self._depth -= 1

    def end(self) -> None:
        if (token := self._peek()) is not None:
            if token.text in _ELSEWHERE:
                raise unsupported("$filter", f"the operator {token.text} is not supported")
            raise bad("$filter", f"has an unexpected {token.text} at character {token.at + 1}")

    def _chain(self, operator: str, inner: Callable[[], Term]) -> Term:
        parts = [inner()]
        while self._taken(operator):
            parts.append(inner())
        return parts[0] if len(parts) == 1 else Logic(operator, tuple(parts))

    def _not(self) -> Term:
        if self._taken("not"):
            with self._deeper():
                return Not(self._not())
        left = self._operand()
        token = self._peek()
        if token is not None and token.text in _COMPARISONS:
            self._at += 1
            return Compare(token.text, left, self._operand())
        if self._taken("in"):
            return In(left, self._values())
        if token is not None and token.text in _ELSEWHERE:
            raise unsupported("$filter", f"the operator {token.text} is not supported")
        return left

    def _operand(self) -> Term:
        token = self._next()
        if token.text == "(":
            inside = self.boolean()
            self._expect(")")
            return inside
        if token.kind != "word" or token.text in _WORDS:
            return Literal(_value(token, "$filter"))
        if self._taken("("):
            return self._call(token)
        if self._taken("/"):
            return self._lambda(token)
        return Property(token.text)

    def _call(self, name: _Token) -> Term:
        if name.text not in FUNCTIONS:
            raise unsupported(
                "$filter", f"the function {name.text} is not supported; supported are: {', '.join(FUNCTIONS)}"
            )
        with self._deeper():
            arguments = [self._operand()]
            while self._taken(","):
                arguments.append(self._operand())
        self._expect(")")
        if len(arguments) != FUNCTIONS[name.text]:
            raise bad("$filter", f"{name.text} takes {FUNCTIONS[name.text]} argument(s), not {len(arguments)}")
        return Call(name.text, tuple(arguments))

    def _lambda(self, name: _Token) -> Term:
        kind = self._next().text
        if kind != "any":
            raise unsupported("$filter", f"{name.text}/{kind} is not supported; any is")
        self._expect("(")
        if self._taken(")"):
            return Member(name.text, None)
        variable = self._next().text
        self._expect(":")
        inside = self.boolean()
        self._expect(")")
        match inside:
            case Compare("eq", Property(who), Literal(value)) | Compare("eq", Literal(value), Property(who)):
                values: tuple[Value, ...] = (value,)
            case In(Property(who), values):
                pass
            case _:
                raise unsupported("$filter", f"within any only {variable} eq and {variable} in are supported")
        if who != variable:
            raise bad("$filter", f"{who} is not {variable}")
        return Member(name.text, values)

    def _values(self) -> tuple[Value, ...]:
        self._expect("(")
        values = [_value(self._next(), "$filter")]
        while self._taken(","):
            values.append(_value(self._next(), "$filter"))
        self._expect(")")
        return tuple(values)

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> _Token:
        token = self._peek()
        if token is None:
            raise bad("$filter", "ends too early")
        self._at += 1
        return token

    def _taken(self, text: str) -> bool:
        token = self._peek()
        if token is not None and token.kind in ("word", "mark") and token.text == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.kind != "mark" or token.text != text:
            raise bad("$filter", f"there must be {text} at character {token.at + 1}, not {token.text}")

"""The grammar of filters, and what Consul's parser says of a text that does not follow it.

Consul's parser is generated from a parsing expression grammar: it tries the alternatives of a rule in order, and names
all that it would have taken at the farthest place that it reached. So does this one.
"""

import re
from collections.abc import Callable
from typing import Final

from aioconsulconnect.testing.protocol.refusals import Refused

Rule = Callable[["_Reading", int], int | None]
"""A rule reads on from a position, and gives the position behind what it took; None where it does not fit."""


class _Reading:
    """The reading of one text: the farthest place that was reached, and what would have been taken there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.farthest = 0
        self.expected: set[str] = set()
        self.errors: dict[str, None] = {}
        self.inverted = False
        self.known: dict[tuple[Rule, int, bool], int | None] = {}

    def position(self, at: int) -> str:
        before = self.text[:at]
        line, column = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
        if self.text[at : at + 1] == "\n":  # The parser counts a line from its line feed on.
            line, column = line + 1, 0
        return f"{line}:{column} ({len(before.encode())})"

    def tried(self, at: int, wanted: str, *, fits: bool) -> None:
        """Note what was wanted at a place, unless it was there (or was to be absent, and was)."""
        if fits != self.inverted or at < self.farthest:
            return
        if at > self.farthest:
            self.farthest, self.expected = at, set()
        self.expected.add(f"!{wanted}" if self.inverted else wanted)


def syntax_complaint(text: str) -> str | None:
    """The complaint about a filter's syntax, in the words of Consul's parser; None where there is none.

    At deep nesting Consul's parser takes minutes and more: `Refused` with 501.
    """
    reading = _Reading(text)
    try:
        if _INPUT(reading, 0) is not None and not reading.errors:
            return None
    except RecursionError:
        raise Refused(501, "The in-process agent does not read filters of so many levels") from None
    if not reading.errors:
        wanted = sorted(reading.expected - {"!."}) + ["EOF"] * ("!." in reading.expected)
        listed = f"{', '.join(wanted[:-1])} or {wanted[-1]}" if len(wanted) > 1 else "".join(wanted)
        return f"{reading.position(reading.farthest)}: no match found, expected: {listed}"
    return "\n".join(reading.errors)


def _char(label: str, fits: Callable[[str], bool]) -> Rule:
    def read(reading: _Reading, at: int) -> int | None:
        found = at < len(reading.text) and fits(reading.text[at])
        reading.tried(at, label, fits=found)
        return at + 1 if found else None

    return read


def _word(word: str) -> Rule:
    label = '"{}"'.format(word.replace('"', '\\"'))

    def read(reading: _Reading, at: int) -> int | None:
        found = reading.text.startswith(word, at)
        reading.tried(at, label, fits=found)
        return at + len(word) if found else None

    return read


def _all(*rules: Rule) -> Rule:
    def read(reading: _Reading, at: int) -> int | None:
        here: int | None = at
        for rule in rules:
            here = rule(reading, here) if here is not None else None
        return here

    return read


def _any(*rules: Rule) -> Rule:
    def read(reading: _Reading, at: int) -> int | None:
        return next((end for rule in rules if (end := rule(reading, at)) is not None), None)

    return read


def _many(rule: Rule) -> Rule:
    def read(reading: _Reading, at: int) -> int:
        while (end := rule(reading, at)) is not None:
            at = end
        return at

    return read


def _maybe(rule: Rule) -> Rule:
    return _any(rule, lambda _, at: at)


def _ahead(rule: Rule) -> Rule:
    return lambda reading, at: None if rule(reading, at) is None else at


def _absent(rule: Rule) -> Rule:
    def read(reading: _Reading, at: int) -> int | None:
        reading.inverted = not reading.inverted
        found = rule(reading, at)
        reading.inverted = not reading.inverted
        return at if found is None else None

    return read


def _wrong(rule: str, words: str) -> Rule:
    """A rule that takes nothing, and notes an error."""

    def read(reading: _Reading, at: int) -> None:
        reading.errors[f'{reading.position(at)}: rule "{rule}": {words}'] = None

    return read


def _once(rule: Callable[[], Rule]) -> Rule:
    """A rule that may contain itself, and that remembers what it found at a place."""

    def read(reading: _Reading, at: int) -> int | None:
        key = (read, at, reading.inverted)
        if key not in reading.known:
            reading.known[key] = rule()(reading, at)
        return reading.known[key]

    return read


def _ascii(low: str, high: str) -> Callable[[str], bool]:
    return lambda char: low <= char <= high


_GO_STRING: Final = re.compile(
    r'"(?:[^"\\\n]|\\(?:[abfnrtv\\"]|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}))*"'
)
_ANYTHING: Final = _char(".", lambda _: True)
_END: Final = _absent(_ANYTHING)
_SPACE_CHAR: Final = _char(r"[ \t\r\n]", lambda char: char in " \t\r\n")
_SPACE: Final = _all(_SPACE_CHAR, _many(_SPACE_CHAR))
_GAP: Final = _maybe(_SPACE)
_LETTER: Final = _char("[a-zA-Z]", lambda char: char.isascii() and char.isalpha())
_NAME_CHAR: Final = _char("[a-zA-Z0-9_]", lambda char: char.isascii() and (char.isalnum() or char == "_"))
_NAME: Final = _all(_LETTER, _many(_NAME_CHAR))
_DIGIT: Final = _char("[0-9]", _ascii("0", "9"))


def _unterminated(mark: str) -> Rule:
    return _all(_word(mark), _many(_all(_absent(_word(mark)), _ANYTHING)))


def _checked(rule: Rule) -> Rule:
    """A string whose escapes Go can read; the complaint is about its beginning."""

    def read(reading: _Reading, at: int) -> int | None:
        end = rule(reading, at)
        if end is not None and reading.text[at] == '"' and not _GO_STRING.fullmatch(reading.text, at, end):
            _wrong("string", "invalid syntax")(reading, at)
        return end

    return read


_STRING: Final = _any(
    *(_checked(_all(_unterminated(mark), _word(mark))) for mark in ("`", '"')),
    *(_all(_unterminated(mark), _END, _wrong("string", "Unterminated string literal")) for mark in ("`", '"')),
)
_INDEX: Final = _any(
    _all(_word("["), _GAP, _STRING, _GAP, _word("]")),
    _all(_word("["), _GAP, _absent(_STRING), _wrong("index", "Invalid index")),
    _all(_word("["), _GAP, _STRING, _GAP, _absent(_word("]")), _wrong("index", "Unclosed index expression")),
)
_SELECTOR: Final = _all(_NAME, _many(_any(_all(_word("."), _NAME), _INDEX)))
_AFTER_NUMBER: Final = _ahead(_any(_SPACE, _END, _word(")")))
_DIGITS: Final = _all(
    _maybe(_word("-")),
    _any(_word("0"), _all(_char("[1-9]", _ascii("1", "9")), _many(_DIGIT))),
    _maybe(_all(_word("."), _DIGIT, _many(_DIGIT))),
)
_NUMBER: Final = _any(
    _all(_DIGITS, _ahead(_AFTER_NUMBER)),
    _all(_DIGITS, _absent(_AFTER_NUMBER), _wrong("number", "Invalid number literal")),
)
_VALUE: Final = _any(_SELECTOR, _NUMBER, _STRING)


def _operator(*words: str) -> Rule:
    return _all(_SPACE, *(rule for word in words for rule in (_word(word), _SPACE)))


_MEMBERSHIP: Final = _any(_operator("in"), _operator("not", "in"))
_COMPARISON: Final = _any(
    _all(
        _SELECTOR,
        _any(
            _all(_GAP, _word("=="), _GAP),
            _all(_GAP, _word("!="), _GAP),
            _operator("contains"),
            _operator("not", "contains"),
            _operator("matches"),
            _operator("not", "matches"),
        ),
        _VALUE,
    ),
    _all(
        _SELECTOR,
        _any(*(_all(_operator(*words), _word("empty")) for words in (("is",), ("is", "not")))),
    ),
    _all(_VALUE, _MEMBERSHIP, _SELECTOR),
    _all(_VALUE, _MEMBERSHIP, _absent(_SELECTOR), _wrong("match", "Invalid selector")),
)
_OR: Rule = _once(lambda: _any(_all(_AND, _operator("or"), _OR), _AND))
_AND: Rule = _once(lambda: _any(_all(_NOT, _operator("and"), _AND), _NOT))
_NOT: Rule = _once(lambda: _any(_all(_word("not"), _SPACE, _NOT), _GROUP))
_GROUP: Rule = _once(
    lambda: _any(
        _all(_word("("), _GAP, _OR, _GAP, _word(")")),
        _COMPARISON,
        _all(_word("("), _GAP, _OR, _GAP, _absent(_word(")")), _wrong("grouping", "Unmatched parentheses")),
    )
)
_INPUT: Final = _any(
    _all(_GAP, _word("("), _GAP, _OR, _GAP, _word(")"), _GAP, _END),
    _all(_GAP, _OR, _GAP, _END),
)

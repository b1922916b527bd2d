"""The filter language of list endpoints, for intentions."""

import re
from collections.abc import Callable
from typing import Final, NoReturn

from aioconsulconnect.testing.gojson import Object, child, number, text
from aioconsulconnect.testing.http import Refused
from aioconsulconnect.testing.quirks import spans

Predicate = Callable[[Object], bool]

_STRINGS: Final = (
    ("Action", "1.8"),
    ("Description", "1.8"),
    ("DestinationNS", "1.8"),
    ("DestinationName", "1.8"),
    ("DestinationPartition", "1.16"),
    ("ID", "1.8"),
    ("SourceNS", "1.8"),
    ("SourceName", "1.8"),
    ("SourcePartition", "1.16"),
    ("SourcePeer", "1.16"),
    ("SourceSamenessGroup", "1.16"),
    ("SourceType", "1.8"),
)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<sign>==|!=|[()])|(?P<word>[^\s()=!"`\[\]]+(?:\["[^"]*"\])*))"""
)
_DEEPEST: Final = 50


def compile_filter(expression: str, version: str) -> Predicate:
    """The predicate that an expression stands for; a refusal in Consul's words where it stands for nothing."""
    return _Parser(expression, version).parse()


def _fail(reason: str) -> NoReturn:
    raise Refused(500, f"Failed to create boolean expression evaluator: {reason}", from_server=True)


class _Parser:
    def __init__(self, expression: str, version: str) -> None:
        self.tokens: list[tuple[str, bool]] = []
        self.places: list[int] = []
        self.end = len(expression)
        self.version = version
        self.depth = 0
        at, end = 0, len(expression.rstrip())
        while at < end:
            found = _TOKEN.match(expression, at)
            if found is None:
                self.no_match(at)
            self.places.append(at)
            at = found.end()
            quoted = found["quoted"]
            self.tokens.append((quoted[1:-1].replace('\\"', '"'), True) if quoted else (found[0].strip(), False))
        self.at = 0

    @staticmethod
    def no_match(at: int) -> NoReturn:
        _fail(f"1:{at + 1} ({at}): no match found")

    def unexpected(self) -> NoReturn:
        self.no_match(self.places[self.at] if self.at < len(self.places) else self.end)

    def parse(self) -> Predicate:
        predicate = self.either()
        if self.at < len(self.tokens):
            self.unexpected()
        return predicate

    def peek(self) -> str:
        """The next token where it is a word of the language, not a quoted value."""
        token, quoted = self.tokens[self.at] if self.at < len(self.tokens) else ("", True)
        return "" if quoted else token

    def accept(self, *words: str) -> bool:
        """Take these words where they come next."""
        ahead = self.tokens[self.at : self.at + len(words)]
        if [token for token, quoted in ahead if not quoted] != list(words):
            return False
        self.at += len(words)
        return True

    def value(self) -> str:
        if self.at >= len(self.tokens) or self.peek() in {"(", ")", "==", "!="}:
            self.unexpected()
        self.at += 1
        return self.tokens[self.at - 1][0]

    def either(self) -> Predicate:
        left = self.both()
        while self.accept("or"):
            left = _or(left, self.both())
        return left

    def both(self) -> Predicate:
        left = self.term()
        while self.accept("and"):
            left = _and(left, self.term())
        return left

    def term(self) -> Predicate:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.unexpected()
        if self.accept("not"):
            inner = self.term()
            return lambda item: not inner(item)
        if self.accept("("):
            inner = self.either()
            if not self.accept(")"):
                self.unexpected()
            return inner
        return self.comparison()

    def comparison(self) -> Predicate:
        first = self.value()
        if self.accept("in"):
            return self.made(self.value(), "In", first)
        if self.accept("not", "in"):
            return self.made(self.value(), "Not In", first)
        for words, operator in (
            (("==",), "Equal"),
            (("!=",), "Not Equal"),
            (("contains",), "In"),
            (("not", "contains"), "Not In"),
            (("matches",), "Matches"),
            (("not", "matches"), "Not Matches"),
        ):
            if self.accept(*words):
                return self.made(first, operator, self.value())
        if self.accept("is", "empty"):
            return self.made(first, "Is Empty", "")
        if self.accept("is", "not", "empty"):
            return self.made(first, "Is Not Empty", "")
        return self.unexpected()

    def made(self, selector: str, operator: str, value: str) -> Predicate:
        """The predicate of one comparison."""
        positive = operator.replace("Not ", "")
        test = self.positive(selector, positive, operator, value)
        return (lambda item: not test(item)) if positive != operator else test

    def positive(self, selector: str, positive: str, operator: str, value: str) -> Predicate:
        known = {name for name, since in _STRINGS if spans(self.version, since)}
        key = re.fullmatch(r'Meta(?:\.([^.\[\]]+)|\["([^"]*)"\])', selector)
        if selector == "Meta" and positive in {"Is Empty", "In"}:
            return (lambda item: not child(item, "Meta")) if positive == "Is Empty" else _holds(value)
        if selector == "Precedence" and positive == "Equal":
            if not re.fullmatch(r"-?\d+", value):
                _fail(
                    f'Failed to convert value "{value}" for selector "Precedence": strconv.ParseInt: '
                    f'parsing "{value}": invalid syntax'
                )
            return lambda item: number(item, "Precedence") == int(value)
        if selector in known and positive in {"Equal", "In", "Matches"}:
            return _string(lambda item: text(item, selector), positive, value)
        if key and positive in {"Equal", "In", "Matches"}:
            return _string(lambda item: text(child(item, "Meta"), key[1] or key[2]), positive, value)
        if selector in known or selector in {"Meta", "Precedence"} or key:
            _fail(f'Invalid match operator "{operator}" for selector "{selector}"')
        _fail(f'Selector "{selector}" is not valid')


def _or(left: Predicate, right: Predicate) -> Predicate:
    return lambda item: left(item) or right(item)


def _and(left: Predicate, right: Predicate) -> Predicate:
    return lambda item: left(item) and right(item)


def _holds(key: str) -> Predicate:
    return lambda item: key in child(item, "Meta")


def _string(read: Callable[[Object], str], operator: str, value: str) -> Predicate:
    if operator == "Equal":
        return lambda item: read(item) == value
    if operator == "In":
        return lambda item: value in read(item)
    try:
        pattern = re.compile(value)
    except re.error as error:
        _fail(f"Failed to compile regular expression {value!r}: {error}")
    return lambda item: pattern.search(read(item)) is not None

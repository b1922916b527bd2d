"""The filter language of list endpoints: its grammar, and the operators of each type of member."""

import re
from collections.abc import Callable
from typing import Final, NoReturn

from aioconsulconnect.testing.go_json.schema import ListOf, MapOf, MemberType, Struct
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object
from aioconsulconnect.testing.protocol.refusals import Refused

Predicate = Callable[[Object], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<sign>==|!=|[()])|(?P<word>[^\s()=!"`\[\]]+(?:\["[^"]*"\])*))"""
)
_PART: Final = re.compile(r'\["([^"]*)"\]|([^.\[\]]+)')
_DEEPEST: Final = 50
_PREFIX: Final = "Failed to create boolean expression evaluator: "


def compile_filter(expression: str, version: str, shape: Struct, *, of_agent: bool = False) -> Predicate:
    """Compile a filter into a predicate; `Refused` in Consul's words where it is malformed.

    - `expression`: the text of the parameter `filter`.
    - `version`: the version, which decides on the members that selectors may name.
    - `shape`: the type of the objects to filter.
    - `of_agent`: true for what the agent filters itself: its refusal of a selector or a value lacks the usual prefix.
    """
    return _Parser(expression, version, shape, "" if of_agent else _PREFIX).parse()


def _fail(reason: str, prefix: str = _PREFIX) -> NoReturn:
    raise Refused(500, prefix + reason, from_server=True)


class _Parser:
    """A recursive-descent parser of one filter."""

    def __init__(self, expression: str, version: str, shape: Struct, prefix: str) -> None:
        self.shape = shape
        self.prefix = prefix
        self.tokens: list[tuple[str, bool]] = []
        self.positions: list[int] = []
        self.end = len(expression)
        self.version = version
        self.depth = 0
        at, end = 0, len(expression.rstrip())
        while at < end:
            found = _TOKEN.match(expression, at)
            if found is None:
                self.no_match(at)
            self.positions.append(at)
            at = found.end()
            quoted = found["quoted"]
            self.tokens.append((quoted[1:-1].replace('\\"', '"'), True) if quoted else (found[0].strip(), False))
        self.at = 0

    @staticmethod
    def no_match(at: int) -> NoReturn:
        _fail(f"1:{at + 1} ({at}): no match found")

    def unexpected(self) -> NoReturn:
        self.no_match(self.positions[self.at] if self.at < len(self.positions) else self.end)

    def parse(self) -> Predicate:
        predicate = self.either()
        if self.at < len(self.tokens):
            self.unexpected()
        return predicate

    def peek(self) -> str:
        """The next token if it is a word of the language; empty if it is a quoted value or missing."""
        token, quoted = self.tokens[self.at] if self.at < len(self.tokens) else ("", True)
        return "" if quoted else token

    def accept(self, *words: str) -> bool:
        """Take these words if they come next."""
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
        """Build the predicate of one comparison."""
        positive = operator.replace("Not ", "")
        test = self.positive(selector, positive, operator, value)
        return (lambda item: not test(item)) if positive != operator else test

    def positive(self, selector: str, positive: str, operator: str, value: str) -> Predicate:
        """Build the predicate of a comparison without its `not`; a refusal names the whole `operator`."""
        found = select(self.shape, selector, self.version)
        if found is None:
            _fail(f'Selector "{selector}" is not valid', self.prefix)
        kind, read = found
        test = self.test(kind, positive, selector, value)
        if test is None:
            _fail(f'Invalid match operator "{operator}" for selector "{selector}"', self.prefix)
        return lambda item: any(test(each) for each in read(item))

    def test(self, kind: MemberType, operator: str, selector: str, value: str) -> Callable[[object], bool] | None:
        """Build the test of one value; None where the operator has no meaning for its type."""
        match kind, operator:
            case "string", "Equal":
                return lambda found: (found or "") == value
            case "string", "In":
                return lambda found: value in str(found or "")
            case "string", "Matches":
                pattern = self.pattern(value)
                return lambda found: pattern.search(str(found or "")) is not None
            case (("int" | "uint32"), "Equal"):
                number = self.converted(int, "ParseInt", selector, value)
                return lambda found: (found or 0) == number
            case "bool", "Equal":
                wanted = self.converted(lambda text: {"true": True, "false": False}[text], "ParseBool", selector, value)
                return lambda found: (found or False) == wanted
            case ((ListOf("string") | MapOf()), "In"):
                return lambda found: isinstance(found, list | dict) and value in found
            case ((ListOf() | MapOf()), "Is Empty"):
                return lambda found: not found
            case _:
                return None

    def pattern(self, value: str) -> re.Pattern[str]:
        """Compile a regular expression, or refuse it."""
        try:
            return re.compile(value)
        except re.error as error:
            _fail(f"Failed to compile regular expression {value!r}: {error}", self.prefix)

    def converted(self, convert: Callable[[str], int], function: str, selector: str, value: str) -> int:
        """Convert a value to the number or boolean that a selector holds, or refuse it."""
        try:
            return convert(value)
        except (KeyError, ValueError):
            _fail(
                f'Failed to convert value "{value}" for selector "{selector}": strconv.{function}: '
                f'parsing "{value}": invalid syntax',
                self.prefix,
            )


def select(shape: Struct, selector: str, version: str) -> tuple[MemberType, Callable[[Object], list[object]]] | None:
    """Resolve `selector`: the type of the member that it names, and a function that reads it.

    None where `version` has no such member in `shape`, or where it cannot be filtered by. Of a list, the values of all
    elements are read.
    """
    kind: MemberType = shape
    path = [found[1] or found[2] for found in _PART.finditer(selector)]
    for part in path:
        if isinstance(kind, ListOf):
            kind = kind.item
        if isinstance(kind, MapOf):
            kind = kind.item
        elif isinstance(kind, Struct):
            member = next((field for field in kind.of(version) if field.name == part), None)
            if member is None:
                return None
            kind = member.of
        else:
            return None
    if isinstance(kind, Struct) or kind in {"uint64", "any", "open", "ignored"}:
        return None

    def read(item: Object) -> list[object]:
        values: list[object] = [item]
        for part in path:
            values = [each for value in values for each in (value if is_list(value) else [value])]
            values = [value.get(part) if is_object(value) else None for value in values]
        return values

    return kind, read


def _or(left: Predicate, right: Predicate) -> Predicate:
    return lambda item: left(item) or right(item)


def _and(left: Predicate, right: Predicate) -> Predicate:
    return lambda item: left(item) and right(item)

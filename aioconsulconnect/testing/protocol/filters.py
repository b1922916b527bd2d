"""The filter language of list endpoints: operators by the type of a member, and selectors."""

import re
from collections.abc import Callable
from typing import Final, Literal, NoReturn

from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import ListOf, MapOf, MemberType, Struct
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object
from aioconsulconnect.testing.protocol.filter_grammar import Comparison, FilterSyntaxError, Syntax, parse_filter
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused

Predicate = Callable[[Object], bool]
_Test = Callable[[object], bool]

_PREFIX: Final = "Failed to create boolean expression evaluator: "
_MOST: Final = 2**63
_UNFILTERED: Final[frozenset[object]] = frozenset({"uint64", "any", "open", "ignored"})
_PERL: Final = re.compile(r"\(\?[=!]")
_REGEXP_ERRORS: Final = {
    "missing ), unterm": ("missing closing )", r".*"),
    "unterminated character": ("missing closing ]", r".*"),
    "unbalanced parenthesis": ("unexpected )", r".*"),
    "nothing to repeat": ("missing argument to repetition operator", r"[*+?]"),
    "bad character range": ("invalid character class range", r"[^\]]*"),
    "bad escape": ("invalid escape sequence", r"\\."),
}
"""Go's words for what Python says about a regular expression, and the part that they quote."""


def compile_filter(
    expression: str, version: str, shape: Struct, *, of_agent: Literal["services", "checks"] | None = None
) -> Predicate:
    """Compile a filter into a predicate; `Refused` in Consul's words where it is malformed.

    - `expression`: the text of the parameter `filter`.
    - `version`: the version, which decides on the members that selectors may name.
    - `shape`: the type of the objects to filter.
    - `of_agent`: the list that the agent filters itself: its checks refuse a selector or a value only when there is a
      check, and without the usual prefix; a selector into an object that a service does not have drops the connection.
    """
    try:
        syntax = parse_filter(expression)
    except FilterSyntaxError as error:
        _fail(str(error))
    except RecursionError as error:
        raise Refused(501, "The in-process agent takes no filter that is nested so deeply") from error

    def late(item: Object) -> bool:
        return _Compiler(version, shape, "", drops=False).predicate(syntax)(item)

    if of_agent == "checks":
        return late
    return _Compiler(version, shape, _PREFIX, drops=of_agent == "services").predicate(syntax)


def _fail(reason: str, prefix: str = _PREFIX) -> NoReturn:
    raise Refused(500, prefix + reason, from_server=True)


class _Compiler:
    """The meaning of one filter for objects of one shape; `prefix` begins its refusals."""

    def __init__(self, version: str, shape: Struct, prefix: str, *, drops: bool) -> None:
        self.drops = drops
        self.shape = shape
        self.prefix = prefix
        self.version = version

    def predicate(self, syntax: Syntax) -> Predicate:
        """Build the predicate of an expression."""
        if isinstance(syntax.root, Comparison):
            return self.comparison(syntax.root)
        parts = [self.predicate(operand) for operand in syntax.operands]
        if syntax.root == "not":
            return lambda item: not parts[0](item)
        several = all if syntax.root == "and" else any
        return lambda item: several(part(item) for part in parts)

    def comparison(self, given: Comparison) -> Predicate:
        """Build the predicate of one comparison."""
        positive = given.operator.replace("Not ", "")
        kind, read = select(self.shape, given.selector, self.version, self.prefix)
        selector = ".".join(given.selector)
        test = self.test(kind, positive, selector, given.value)
        if test is None:
            _fail(f'Invalid match operator "{given.operator}" for selector "{selector}"', self.prefix)
        wanted = positive == given.operator
        return lambda item: any(test(each) for each in read(item, drops=self.drops)) == wanted

    def test(self, kind: MemberType, operator: str, selector: str, value: str) -> _Test | None:
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
                number = self.number(selector, value)
                return lambda found: (found or 0) == number
            case "bool", "Equal":
                if value not in TRUE | FALSE:
                    self.refuse("Bool", selector, value, "invalid syntax")
                return lambda found: (found or False) == (value in TRUE)
            case ((ListOf("string") | MapOf()), "In"):
                return lambda found: isinstance(found, list | dict) and value in found
            case ((ListOf() | MapOf()), "Is Empty"):
                return lambda found: not found
            case _:
                return None

    def pattern(self, value: str) -> re.Pattern[str]:
        """Compile a regular expression, or refuse it."""
        words = f'Failed to compile regular expression "{value}": error parsing regexp: '
        if perl := _PERL.search(value):
            _fail(f"{words}invalid or unsupported Perl syntax: `{perl[0]}`", self.prefix)
        try:
            return re.compile(value)
        except re.error as error:
            known = next((known for begin, known in _REGEXP_ERRORS.items() if error.msg.startswith(begin)), None)
            start = 0 if "parenthesis" in error.msg or "missing )" in error.msg else error.pos or 0
            quoted = re.match(known[1], value[start:]) if known else None
            if known is None or quoted is None:
                raise Refused(
                    501, f"The in-process agent does not know Go's words for what is wrong in {value}"
                ) from error
            _fail(f"{words}{known[0]}: `{quoted[0]}`", self.prefix)

    def number(self, selector: str, value: str) -> int:
        """Convert a value to the number that a selector holds, or refuse it."""
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            self.refuse("Int", selector, value, "invalid syntax")
        if not -_MOST <= int(value) < _MOST:
            self.refuse("Int", selector, value, "value out of range")
        return int(value)

    def refuse(self, function: str, selector: str, value: str, reason: str) -> NoReturn:
        """Refuse a value that the selector cannot hold."""
        parsing = f'strconv.Parse{function}: parsing "{value}": {reason}'
        _fail(f'Failed to coerce value "{value}" for selector "{selector}": {parsing}', self.prefix)


class _Reader:
    """The function that reads the values of a selector, of a list those of all elements.

    - `path`: the selector.
    - `pointers`: for each part of it, true if that is an object that may be missing.
    """

    def __init__(self, path: list[str], pointers: list[bool]) -> None:
        self.path = path
        self.pointers = pointers

    def __call__(self, item: Object, *, drops: bool) -> list[object]:
        """The values in `item`; with `drops`, the end of the connection where an object on the way is missing."""
        values: list[object] = [item]
        for part, pointer in zip(self.path, self.pointers, strict=True):
            values = [each for value in values for each in (value if is_list(value) else [value])]
            values = [value.get(part) if is_object(value) else None for value in values]
            if drops and pointer and None in values:
                raise Dropped
        return values


def select(shape: Struct, path: list[str], version: str, prefix: str = _PREFIX) -> tuple[MemberType, _Reader]:
    """Resolve a selector: the type of the member that it names, and the function that reads it.

    Where there is no such member, or no filter can be about it, the refusal names the path as far as it went wrong.

    - `shape`: the type of the objects.
    - `path`: the parts of the selector.
    - `version`: the version, which decides on the members.
    - `prefix`: the beginning of the refusal.
    """
    kinds: list[MemberType] = [shape]
    pointers: list[bool] = []
    for at, part in enumerate(path, 1):
        kind = kinds[-1].item if isinstance(kinds[-1], ListOf) else kinds[-1]
        found: MemberType | None = kind.item if isinstance(kind, MapOf) else None
        if isinstance(kind, Struct):
            found = next((each.of for each in kind.of(version) if each.name == part and each.filtered), None)
        if found is None or found in _UNFILTERED:
            _fail(f'Selector "{".".join(path[:at])}" is not valid', prefix)
        kinds.append(found)
        pointers.append(isinstance(kind, Struct) and isinstance(found, Struct))
    return kinds[-1], _Reader(path, pointers)

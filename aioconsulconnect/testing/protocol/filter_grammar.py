"""The grammar of filters: from text to a tree, or to the error of Consul's parser.

That parser tries the alternatives of each rule in turn. Where all fail, its error is about the place that any of them
came farthest to, and names all that could have stood there.
"""

import re
from dataclasses import dataclass, field
from typing import Final

_SYMBOL: Final = re.compile(r"'[^']*'|%\S+|[!&]?(?:\[.*?\](?=[?* ]|$)|\w+)[?*]?")
_RULES: Final = {
    "filter": ("_? bracketed _? EOF", "_? either _? EOF"),
    "either": ("both _ 'or' _ either", "both"),
    "both": ("term _ 'and' _ both", "term"),
    "term": ("'not' _ term", "bracketed", "match", "'(' _? either _? %grouping:Unmatched_parentheses"),
    "bracketed": ("'(' _? either _? ')'",),
    "match": (
        *("selector comparison value", "selector emptiness", "value membership selector"),
        "value membership %match:Invalid_selector",
    ),
    "comparison": (
        *("_? '==' _?", "_? '!=' _?", "_ 'contains' _", "_ 'not' _ 'contains' _", "_ 'matches' _"),
        "_ 'not' _ 'matches' _",
    ),
    "emptiness": ("_ 'is' _ 'empty'", "_ 'is' _ 'not' _ 'empty'"),
    "membership": ("_ 'in' _", "_ 'not' _ 'in' _"),
    "selector": ("name part*",),
    "part": (
        *("'.' name", "'[' _? string _? ']'", "'[' _? !string %index:Invalid_index"),
        "'[' _? string _? %index:Unclosed_index_expression",
    ),
    "name": ("[a-zA-Z] [a-zA-Z0-9_]*",),
    "value": ("selector", "number", "string"),
    "number": ("minus? digits &after", "minus? digits !after %number:Invalid_number_literal"),
    "minus": ("'-'",),
    "digits": ("whole fraction?",),
    "whole": ("'0'", "[1-9] [0-9]*"),
    "fraction": ("'.' [0-9] [0-9]*",),
    "after": ("_", "EOF", "')'"),
    "string": ("'`' [^`]* '`'", "'\"' [^\"]* '\"'", "%string:Unterminated_string_literal"),
    "_": ("[ \\t\\r\\n] [ \\t\\r\\n]*",),
}
_GRAMMAR: Final = {
    name: tuple(tuple(_SYMBOL.findall(alternative)) for alternative in rule) for name, rule in _RULES.items()
}
_OPERATORS: Final = {
    "comparison": ("Equal", "Not Equal", "In", "Not In", "Matches", "Not Matches"),
    "emptiness": ("Is Empty", "Is Not Empty"),
    "membership": ("In", "Not In"),
}
_ESCAPE: Final = re.compile(r"""\\(?:[abfnrtv\\"]|x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})""")
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class FilterSyntaxError(Exception):
    """A filter that is not of the language; the text is that of Consul's parser."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a filter.

    - `rule`, `alternative`: the rule that it follows, and which of its alternatives.
    - `parts`: the parts within it.
    - `start`, `end`: where it stands in the text.
    """

    rule: str
    alternative: int
    parts: "list[Node]"
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of a member with a value: `operator` is as errors name it."""

    selector: list[str]
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Syntax:
    """The tree of a filter: its root is "or", "and" or "not" with trees as `operands`, or a comparison."""

    root: str | Comparison
    operands: "tuple[Syntax, ...]" = ()


def parse_filter(text: str) -> Syntax:
    """Parse a filter; FilterSyntaxError where it is none, RecursionError where it is too deep."""
    parser = _Parser(text)
    found = parser.rule("filter", 0)
    if parser.errors:
        raise FilterSyntaxError("\n".join(parser.errors))
    if found is None:
        wanted = [*sorted(parser.expected - {"EOF"}), *({"EOF"} & parser.expected)]
        words = " or ".join([", ".join(wanted[:-1]), wanted[-1]] if len(wanted) > 1 else wanted)
        raise FilterSyntaxError(f"{parser.position(parser.farthest)}: no match found, expected: {words}")
    return _tree(found, text)


@dataclass(slots=True)
class _Parser:
    """One run over a text; every method gives what it found at a place and the place behind it, or None."""

    text: str
    farthest: int = 0
    expected: set[str] = field(default_factory=set[str])
    errors: dict[str, None] = field(default_factory=dict[str, None])
    known: dict[tuple[str, int], Node | None] = field(default_factory=dict[tuple[str, int], Node | None])

    def position(self, at: int) -> str:
        line, column = self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)
        return f"{line}:{column} ({len(self.text[:at].encode())})"

    def rule(self, name: str, at: int) -> Node | None:
        if (name, at) not in self.known:
            tried = enumerate(self.sequence(symbols, at) for symbols in _GRAMMAR[name])
            made = (Node(name, number, found[0], at, found[1]) for number, found in tried if found)
            self.known[name, at] = next(made, None)
        return self.known[name, at]

    def sequence(self, symbols: tuple[str, ...], at: int) -> tuple[list[Node], int] | None:
        parts: list[Node] = []
        for symbol in symbols:
            found = self.symbol(symbol, at)
            if found is None:
                return None
            parts += found[0]
            at = found[1]
        return parts, at

    def symbol(self, symbol: str, at: int) -> tuple[list[Node], int] | None:
        if symbol[0] in "!&":
            return ([], at) if bool(self.symbol(symbol[1:], at)) == (symbol[0] == "&") else None
        if symbol[0] == "%":
            name, _, words = symbol[1:].partition(":")
            if name != "string" or self.text[at : at + 1] in {"`", '"'}:
                where = len(self.text) if name == "string" else at
                self.errors[f'{self.position(where)}: rule "{name}": {words.replace("_", " ")}'] = None
            return None
        if symbol[-1] in "?*" and symbol[0] != "'":
            parts: list[Node] = []
            while found := self.symbol(symbol[:-1], at):
                parts += found[0]
                at = found[1]
                if symbol[-1] == "?":
                    break
            return parts, at
        if symbol in _GRAMMAR:
            node = self.rule(symbol, at)
            return ([node], node.end) if node else None
        return self.terminal(symbol, at)

    def terminal(self, symbol: str, at: int) -> tuple[list[Node], int] | None:
        literal = symbol[1:-1] if symbol[0] == "'" else None
        if literal is not None and self.text.startswith(literal, at):
            return [], at + len(literal)
        if symbol == "EOF" and at == len(self.text):
            return [], at
        if symbol[0] == "[" and re.match(symbol, self.text[at : at + 1]):
            return [], at + 1
        if at > self.farthest:
            self.farthest, self.expected = at, set()
        if at == self.farthest:
            self.expected.add(symbol if literal is None else '"\\""' if literal == '"' else f'"{literal}"')
        return None


def _tree(node: Node, text: str) -> Syntax:
    parts = [part for part in node.parts if part.rule != "_"]
    if node.rule == "match":
        selector = next(part for part in parts if part.rule == "selector")
        value = "".join(_value(part, text) for part in parts if part.rule == "value")
        operator = next(_OPERATORS[part.rule][part.alternative] for part in parts if part.rule in _OPERATORS)
        return Syntax(Comparison(_path(selector, text), operator, value))
    operands = [_tree(part, text) for part in parts]
    word = {"either": "or", "both": "and", "term": "not"}.get(node.rule, "")
    joined = len(operands) > 1 or (word == "not" and not node.alternative)
    return Syntax(word, tuple(operands)) if joined else operands[0]


def _path(selector: Node, text: str) -> list[str]:
    named = [part for each in selector.parts for part in ([each] if each.rule == "name" else each.parts)]
    return [
        _string(part, text) if part.rule == "string" else text[part.start : part.end]
        for part in named
        if part.rule != "_"
    ]


def _value(value: Node, text: str) -> str:
    inner = value.parts[0]
    if inner.rule == "selector":
        return ".".join(_path(inner, text))
    return _string(inner, text) if inner.rule == "string" else text[inner.start : inner.end]


def _string(node: Node, text: str) -> str:
    inner = text[node.start + 1 : node.end - 1]
    if text[node.start] == "`":
        return inner.replace("\r", "")
    if "\n" in inner or "\\" in _ESCAPE.sub("", inner):
        raise FilterSyntaxError(f'{_Parser(text).position(node.start)}: rule "string": invalid syntax')
    return _ESCAPE.sub(_unescaped, inner)


def _unescaped(found: re.Match[str]) -> str:
    kind, digits = found[0][1], found[0][2:]
    if kind in "xuU":
        return chr(int(digits, 16))
    return chr(int(kind + digits, 8)) if kind.isdigit() else _SIMPLE.get(kind, kind)

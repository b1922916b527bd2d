"""The language HCL as ACL rules use it, and its spelling in JSON, read into one kind of tree."""

import json
import re
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from aioconsulconnect.testing.go_json.errors import NotModelledError
from aioconsulconnect.testing.go_json.values import is_list

_ESCAPE: Final = r'[abfnrtv\\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}'
_IN_QUOTES: Final = rf'(?:[^"\\\n\x00$]|\\(?:{_ESCAPE})|\$(?!\{{)|\$\{{[^{{}}]*\}})*'
_WORD: Final = re.compile(
    r"(?P<FLOAT>-?\d+(?:\.\d*(?:[eE][+-]?\d*)?|[eE][+-]?\d*)|\.\d+)"
    r"|(?P<NUMBER>-?(?:0[xX][0-9a-fA-F]+|\d+(?![xX])))"
    r"|(?P<BOOL>(?:true|false)(?![\w.-]))|(?P<IDENT>[^\W\d][\w.-]*)"
    rf'|"(?P<STRING>{_IN_QUOTES})"'
    r"|<<(?P<dash>-)?(?P<anchor>\w+)\r?\n(?P<HEREDOC>.*?)^(?P<margin>(?(dash)[ \t]+|[ \t]*))(?P=anchor)\r?\n"
    r"|(?P<LBRACK>\[)|(?P<RBRACK>\])|(?P<LBRACE>\{)|(?P<RBRACE>\})|(?P<COMMA>,)|(?P<PERIOD>\.)|(?P<ASSIGN>=)"
    r"|(?P<ADD>\+)|(?P<SUB>-)",
    re.DOTALL | re.MULTILINE,
)
_SKIPPED: Final = re.compile(r"(?:[ \t\r\n]+|(?:#|//)[^\n]*\n|/\*.*?\*/)*(?P<last>(?:#|//)[^\n]*\Z)?", re.DOTALL)
_QUOTED: Final = re.compile(f'"{_IN_QUOTES}', re.DOTALL)
_INTERPOLATION_OR_ESCAPE: Final = re.compile(rf"\$\{{[^{{}}]*\}}|\\({_ESCAPE})")
_BAD_ESCAPE: Final = re.compile(r"\\(?:[xuU][0-9a-fA-F]*(?=.)|[0-7]*(?=.))", re.DOTALL)
_UNEXPECTED: Final = {
    "/": ("expected '/' for comment", 0),
    "<": ("heredoc expected second '<', didn't see it", 1),
    "\0": ("unexpected null character (0x00)", 0),
    "0": ("illegal hexadecimal number", 2),
}
_LITERALS: Final = {"NUMBER", "FLOAT", "BOOL", "STRING", "HEREDOC"}
_LETTERS: Final = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
_END_OF_UNICODE: Final = 0x110000


class HclError(ValueError):
    """A text that is no HCL; the words are those of the library that Consul reads it with."""


class Token(NamedTuple):
    """A word of a text: its kind, its position, how it is written, and what it means."""

    kind: str
    at: str
    text: str
    value: str


@dataclass(frozen=True, slots=True)
class Values:
    """A list, and where it stands."""

    items: tuple["Value", ...]
    at: str


@dataclass(frozen=True, slots=True)
class Block:
    """An object: its items in their order."""

    items: tuple["Item", ...]

    @property
    def at(self) -> str:
        """The place of the first item."""
        return self.items[0].keys[0].at if self.items else "-"


Value = Token | Values | Block


class Item(NamedTuple):
    """A member of an object: its keys, of which all but the last stand for nested objects, and its value."""

    keys: tuple[Token, ...]
    value: Value


class _End(Exception):
    """The text ends where a value should stand, or in older versions the object does: the item is dropped."""


class Reader:
    """A reader of one text in HCL.

    - `source`: the text.
    - `newer`: true to read as newer versions, which refuse what is set twice and a value that is missing.
    """

    def __init__(self, source: str, *, newer: bool) -> None:
        self.source = source
        self.newer = newer
        self._offset = 0
        self._beyond = 0  # how often the end was read: the library counts columns there
        self._waiting: Token | None = None

    def read(self) -> Block:
        """Read the whole text; HclError where it is no HCL."""
        return Block(self._items(inside=False))

    # Words.

    def _position(self, offset: int) -> str:
        line, column = self.source.count("\n", 0, offset) + 1, offset - self.source.rfind("\n", 0, offset)
        return f"{line}:{column + (self._beyond if offset == len(self.source) else 0)}"

    def _fail(self, text: str, offset: int) -> NoReturn:
        raise HclError(f"At {self._position(offset)}: {text}")

    def _look(self) -> Token:
        if self._waiting is None:
            self._waiting = self._next()
        return self._waiting

    def _take(self) -> Token:
        token, self._waiting = self._look(), None
        return token

    def _next(self) -> Token:
        skipped = _SKIPPED.match(self.source, self._offset)
        start = self._offset = skipped.end() if skipped else self._offset
        self._beyond += bool(skipped and skipped["last"])
        if start == len(self.source):
            token = Token("EOF", self._position(start), "", "")
            self._beyond += 1
            return token
        found = _WORD.match(self.source, start) or self._no_word(start)
        kind = next(kind for kind in found.re.groupindex if found[kind] is not None and kind not in _PARTS)
        self._offset = found.end()
        if self._offset == len(self.source) and kind in {"IDENT", "BOOL", "NUMBER", "FLOAT"}:
            self._beyond += 2 if re.fullmatch("-?[1-9][0-9]*", found[0]) else 1  # Go's scanner looks once more.
        value = found[kind]
        if kind == "STRING":
            value = _INTERPOLATION_OR_ESCAPE.sub(_unescaped, value)
        if kind == "HEREDOC":
            value = self._heredoc(found)
        return Token(kind, self._position(start), found[0], value)

    def _no_word(self, start: int) -> NoReturn:
        source, end = self.source, len(self.source)
        if quoted := _QUOTED.match(source, start):
            at = quoted.end()
            if source.startswith("${", at) and "}" in source[at:]:
                raise NotModelledError("The in-process agent does not read a brace in an interpolation in ACL rules")
            if begun := _BAD_ESCAPE.match(source, at):
                self._fail("illegal char escape", begun.end())
            self._beyond += source[at:] == "\\"
            self._fail("literal not terminated", end)
        if source.startswith("/*", start):
            self._fail("comment not terminated", end)
        if source.startswith("<<", start):
            self._fail("heredoc not terminated", end)
        words, after = _UNEXPECTED.get(source[start], ("illegal char", 0))
        self._fail(words, start + after)

    @staticmethod
    def _heredoc(found: re.Match[str]) -> str:
        """The text of a heredoc; of one with a dash, without the margin of its end if all lines have that."""
        text, margin = found["HEREDOC"], found["margin"] if found["dash"] else ""
        lines = text.splitlines(keepends=True)
        common = all(line.startswith(margin) for line in lines)
        return "".join(line.removeprefix(margin) for line in lines) if common else text

    # Structure.

    def _items(self, *, inside: bool) -> tuple[Item, ...]:
        found: list[Item] = []
        assigned: set[str] = set()
        while not (inside and self._look().kind == "RBRACE"):
            try:
                keys = self._keys()
                assigns = self._take().kind == "ASSIGN"
                value = self._value(self._take(), inside=inside) if assigns else self._object()
            except _End:
                break
            if self.newer and assigns and keys[0].text in assigned:
                words = f'The argument "{keys[0].value}" at {keys[0].at} was already set.'
                raise HclError(f"{words} Each argument can only be defined once")
            assigned |= {keys[0].text} if assigns else set()
            found.append(Item(keys, value))
            if self._look().kind == "COMMA":
                self._take()
        return tuple(found)

    def _keys(self) -> tuple[Token, ...]:
        """Take the keys of an item, and leave the sign after them."""
        keys: list[Token] = []
        while self._look().kind in {"IDENT", "STRING"}:
            keys.append(self._take())
        kind, at = self._look()[:2]
        if kind == "EOF" and not keys:
            raise _End
        if kind == "ASSIGN" and len(keys) != 1:
            words = "nested object expected: LBRACE got: ASSIGN" if keys else "no object keys found!"
        elif kind in {"EOF", "RBRACE"} and keys:
            written = " ".join(key.text for key in keys)
            words = f"key '{written}' expected start of object ('{{') or assignment ('=')"
        elif kind == "LBRACE" and not keys:
            words = "expected: IDENT | STRING got: LBRACE"
        elif kind not in {"ASSIGN", "LBRACE"}:
            words = f"expected: IDENT | STRING | ASSIGN | LBRACE got: {kind}"
        else:
            return tuple(keys)
        raise HclError(f"At {at}: {words}")

    def _value(self, token: Token, *, inside: bool, words: str = "Unknown token: {} {} {}") -> Value:
        if token.kind in _LITERALS:
            return token
        if token.kind == "LBRACE":
            return self._object()
        if token.kind == "LBRACK":
            return self._list(token.at, inside=inside)
        if token.kind == "EOF" and words.startswith("Unknown"):
            raise _End
        return self._refuse(token, words.format(token.at, token.kind, token.text), inside=inside)

    def _refuse(self, token: Token, words: str, *, inside: bool) -> NoReturn:
        if inside and token.kind == "RBRACE" and not self.newer:
            raise _End
        raise HclError(f"At {token.at}: {words}")

    def _object(self) -> Block:
        items = self._items(inside=True)
        if self._waiting and self._waiting.kind == "EOF":
            self._waiting = None  # it is read once more
        if (token := self._take()).kind != "RBRACE":
            raise HclError(f"At {token.at}: object expected closing RBRACE got: {token.kind}")
        return Block(items)

    def _list(self, at: str, *, inside: bool) -> Values:
        values: list[Value] = []
        between = False
        while (token := self._take()).kind != "RBRACK":
            comma = token.kind == "COMMA"
            if between and not comma:
                words = f"error parsing list, expected comma or list end, got: {token.kind}"
                self._refuse(token, words, inside=inside)
            if not comma:
                values.append(self._value(token, inside=inside, words="unexpected token while parsing list: {1}"))
            between = not comma
        return Values(tuple(values), at)


_PARTS: Final = {"dash", "anchor", "margin"}


def _unescaped(found: re.Match[str]) -> str:
    escape: str | None = found[1]
    if escape is None or escape in _LETTERS:
        return _LETTERS[escape] if escape else found[0]
    number = int(escape[1:], 16) if escape[0] in "xuU" else int(escape, 8)
    return chr(number).encode("utf-8", "replace").decode() if number < _END_OF_UNICODE else "\ufffd"


def read_json(source: str) -> Block:
    """Read rules in JSON; NotModelledError where Python does not, as the library takes more."""

    def literal(kind: str, value: str) -> Token:
        return Token(kind, "-", value, value)

    def members(pairs: list[tuple[str, object]]) -> Block:
        items: list[Item] = []
        for key, value in pairs:
            # A list of objects stands for as many members.
            several = value if is_list(value) and value and all(isinstance(each, Block) for each in value) else [value]
            items += [Item((literal("STRING", key),), tree(each)) for each in several]
        return Block(tuple(items))

    def tree(value: object) -> Value:
        if is_list(value):
            return Values(tuple(tree(each) for each in value), "-")
        if isinstance(value, Block | Token):
            return value
        return literal("BOOL", "") if isinstance(value, bool) else literal("STRING", str(value or ""))

    decoder = json.JSONDecoder(
        object_pairs_hook=members,
        parse_int=lambda text: literal("NUMBER", text),
        parse_float=lambda text: literal("FLOAT", text),
    )
    try:
        found = decoder.decode(source)
    except ValueError as error:
        raise NotModelledError(f"The in-process agent does not read ACL rules in such JSON: {error}") from error
    if not isinstance(found, Block) or "\\/" in source:
        raise NotModelledError("The in-process agent does not read ACL rules with an escaped slash in JSON")
    return found

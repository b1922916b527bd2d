"""JSON text as Go reads and writes it: layout, escapes, error texts."""

import json
import re
from typing import Final, NoReturn

from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.values import Number, is_list, is_object

_ESCAPED: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPE: Final = re.compile("[" + "".join(_ESCAPED) + "]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EXPONENT_FROM: Final = 1e21
_LITERALS: Final = {"t": "true", "f": "false", "n": "null"}


def encode(value: object, *, pretty: bool, newline: bool) -> bytes:
    """Write `value` as JSON in Go's layout, with the characters of HTML escaped.

    With `pretty` it is indented by four spaces, else it has no space at all; `newline` ends it with a newline.
    """
    layout = json.dumps(
        _without_fractions(value),
        ensure_ascii=False,
        indent=4 if pretty else None,
        separators=(",", ": ") if pretty else (",", ":"),
    )
    escaped = _ESCAPE.sub(lambda found: _ESCAPED[found.group()], layout)
    return (escaped + "\n" * newline).encode("utf-8", "surrogatepass")


def _without_fractions(value: object) -> object:
    """Copy a value, with integers for the numbers whose fraction is 0, as Go writes them."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT_FROM:
        return int(value)
    if is_object(value):
        return {key: _without_fractions(each) for key, each in value.items()}
    return [_without_fractions(each) for each in value] if is_list(value) else value


def parse(body: bytes) -> object:
    """Read the first JSON value of a body; what follows it is ignored, as a stream decoder does.

    DecodeError with Go's text where there is none.
    """
    source = body.decode("utf-8", "replace")
    start = len(source) - len(source.lstrip(" \t\r\n"))
    if start == len(source):
        raise DecodeError("EOF")
    try:
        value: object
        value, _ = json.JSONDecoder(parse_float=Number, parse_constant=_refuse).raw_decode(source, start)
    except json.JSONDecodeError as error:
        raise DecodeError(_explain(error)) from error
    except RecursionError as error:
        raise DecodeError("exceeded max depth") from error
    return _without_surrogates(value) if _SURROGATE_ESCAPE.search(source) else value


def _without_surrogates(value: object) -> object:
    """JSON data with the mark of what is unreadable in place of half a character, as Go reads it."""
    if is_object(value):
        return {_SURROGATE.sub("\ufffd", key): _without_surrogates(each) for key, each in value.items()}
    if is_list(value):
        return [_without_surrogates(each) for each in value]
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _refuse(constant: str) -> NoReturn:
    raise DecodeError(f"invalid character {_quote(constant[0])} looking for beginning of value")


def _quote(character: str) -> str:
    """Quote a character as Go does: its scanner sees bytes, so of a longer one the first byte."""
    byte = character.encode("utf-8", "surrogatepass")[0]
    named = {"'": "\\'", '"': '"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}.get(character)
    plain = chr(byte) if chr(byte).isprintable() else f"\\x{byte:02x}" if byte < 128 else f"\\u{byte:04x}"  # noqa: PLR2004
    return f"'{named or plain}'"


def _explain(error: json.JSONDecodeError) -> str:
    """Word in Go's way what Python's decoder found."""
    source, at = error.doc, error.pos
    if error.msg.startswith("Illegal trailing comma"):
        at = at + 1 + len(source[at + 1 :]) - len(source[at + 1 :].lstrip())
    if at >= len(source) or error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    found = _quote(source[at])
    if error.msg.startswith("Expecting value") and (literal := _LITERALS.get(source[at])):
        rest = source[at : at + len(literal)]
        same = next((i for i, (a, b) in enumerate(zip(rest, literal, strict=False)) if a != b), len(rest))
        if same == len(rest):
            return "unexpected EOF"
        return f"invalid character {_quote(rest[same])} in literal {literal} (expecting {_quote(literal[same])})"
    where = {
        "Expecting value": "looking for beginning of value",
        "Expecting property name": "looking for beginning of object key string",
        "Illegal trailing comma before end of object": "looking for beginning of object key string",
        "Illegal trailing comma before end of array": "looking for beginning of value",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after array element"
        if _inside_array(source, at)
        else "after object key:value pair",
        "Invalid control character": "in string literal",
        "Invalid \\escape": "in string escape code",
        "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
    }
    return next(
        (f"invalid character {found} {words}" for message, words in where.items() if error.msg.startswith(message)),
        f"invalid character {found}",
    )


def _inside_array(source: str, at: int) -> bool:
    """True if the innermost bracket that is open at position `at` is a square one."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for character in source[:at]:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            open_brackets.append(character)
        elif character in "]}" and open_brackets:
            open_brackets.pop()
    return bool(open_brackets) and open_brackets[-1] == "["

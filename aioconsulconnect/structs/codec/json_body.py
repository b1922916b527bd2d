"""
Decoding of JSON bodies to structs, whole or in slices, and encoding.

Between slices other tasks of the event loop can run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeVar

import msgspec

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse, redact
from aioconsulconnect.slices import SLICE, InSlices
from aioconsulconnect.structs.codec.duration import from_wire

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


Reader = Callable[[bytes], T]

_PIECE = 1 << 20  # bytes
_FIRST_KEY = re.compile(rb"\s*\[\s*(\{\s*\"\w+\")")


def reader(kind: type[T]) -> Reader[T]:
    """
    Return a function that decodes a JSON body into a value of type `kind`.

    The function raises UnreadableResponse for any body that is no such value.
    """

    @cache  # built at the first use, since a program needs few of all decoders
    def decoder() -> Reader[T]:
        return msgspec.json.Decoder(kind, dec_hook=from_wire).decode

    def read(body: bytes) -> T:
        try:
            return decoder()(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise unreadable(body, error) from cause(error)
        except UnicodeDecodeError as error:
            raise unreadable(body, error) from None  # it carries the whole body, which may hold a private key

    return read


_cut = reader(list[msgspec.Raw])


def in_slices(whole: Reader[tuple[T, ...]], size: int = SLICE) -> Callable[[bytes], InSlices[tuple[T, ...]]]:
    """
    Return a function that decodes a JSON list slice by slice, so that other tasks can run in between.

    The function returns a generator that yields before each slice and returns the tuple. msgspec holds the interpreter
    while it decodes, so a thread would not help.

    - `whole`: reader of a list.
    - `size`: items in a slice; default 500.
    """

    def read(body: bytes) -> InSlices[tuple[T, ...]]:
        found: list[T] = []
        for part in slices_of(body, size):
            yield
            found += whole(part)
        return tuple(found)

    return read


def slices_of(body: bytes, size: int = SLICE, piece: int = _PIECE) -> Iterator[bytes]:
    """
    Return an iterator over lists of at most `size` items that together are the list `body`, as JSON.

    Consul's objects of one kind begin with the same key, so where `},{"Key"` stands an item may end. It does if what
    lies before is a list of whole items; if not, the rest of the body is cut at once. Raises UnreadableResponse, which
    may be after the first slices, for a body that is no list.

    - `body`: the list.
    - `size`: items in a slice; default 500.
    - `piece`: bytes that are looked through at once; default 1 MiB.
    """
    first, start = _FIRST_KEY.match(body), 0
    border = None if first is None else re.compile(rb"\}\s*,\s*(?=" + re.escape(first[1]) + rb")")
    while border is not None and len(body) - start > piece:
        end = border.search(body, start + piece)
        if end is None:
            break
        try:
            items = _cut((b"[" if start else b"") + body[start : end.start() + 1] + b"]")
        except UnreadableResponse:
            break
        yield from _slices(items, size)
        start = end.end()
    try:
        items = _cut(b"[" + body[start:]) if start else _cut(body)
    except UnreadableResponse:
        _cut(body)  # it knows where in the whole body
        raise
    yield from _slices(items, size)


def _slices(items: list[msgspec.Raw], size: int) -> Iterator[bytes]:
    for start in range(0, len(items), size):
        yield b"[" + b",".join(items[start : start + size]) + b"]"


def unreadable(body: bytes, error: Exception) -> UnreadableResponse:
    """
    Return the error for a body that does not decode.

    `error` is what msgspec said of `body`. The result says where decoding failed, and never quotes the body.
    """
    return UnreadableResponse(f"a body of {len(body)} bytes does not decode: {error}")


def cause(error: E) -> E | None:
    """
    Return an error, to raise another one from it.

    None where a private key stands in it or in an error behind it, as in a message that quotes a value: a traceback
    shows them all.
    """
    behind: BaseException | None = error
    while behind is not None:
        text = f"{behind!r} {behind} {getattr(behind, '__notes__', '')}"
        if redact(text) != text:
            return None
        behind = behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)
    return error


def encode(value: object) -> bytes:
    """
    Return `value` as JSON.

    Raises InvalidRequest for what cannot be encoded: lone surrogates in a text, an object of a class that JSON has
    nothing for, data that contains itself.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"this cannot be sent as JSON: {error}") from None
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{error.object!r} cannot be sent: it holds half of a surrogate pair") from None

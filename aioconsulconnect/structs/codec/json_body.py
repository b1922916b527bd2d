"""
Decoding of JSON bodies to structs, whole or in slices, and encoding.

Between slices other tasks of the event loop can run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from functools import cache
from typing import TypeVar

import msgspec

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs.codec.duration import from_wire, to_wire

T = TypeVar("T")


Reader = Callable[[bytes], T]
InSlices = Generator[None, None, T]  # yields where other tasks may run, and returns the value

_SLICE = 500
_PIECE = 1 << 20  # bytes
_FIRST_KEY = re.compile(rb"\s*\[(\{\"\w+\":)")


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
            raise unreadable(body, error) from error
        except UnicodeDecodeError as error:
            raise unreadable(body, error) from None  # it carries the whole body, which may hold a private key

    return read


_cut = reader(list[msgspec.Raw])


def in_slices(whole: Reader[tuple[T, ...]], size: int = _SLICE) -> Callable[[bytes], InSlices[tuple[T, ...]]]:
    """
    Return a function that decodes a JSON list slice by slice, so that other tasks can run in between.

    The function returns a generator that yields before each slice and returns the tuple. msgspec holds the interpreter
    while it decodes, so a thread would not help: a big list is first cut into its items, which is quick, and these are
    decoded slice by slice.

    - `whole`: reader of a list.
    - `size`: items in a slice; default 500.
    """

    def read(body: bytes) -> InSlices[tuple[T, ...]]:
        items = yield from cut_in_slices(body)
        found: list[T] = []
        for start in range(0, len(items), size):
            yield
            found += whole(b"[" + b",".join(items[start : start + size]) + b"]")
        return tuple(found)

    return read


def cut_in_slices(body: bytes, piece: int = _PIECE) -> InSlices[list[msgspec.Raw]]:
    """
    Return a generator that cuts a JSON list into its items, and returns them.

    It yields where other tasks may run. Consul's objects of one kind begin with the same key, so where `},{"Key":`
    stands an item may end. It does if what lies before is a list of whole items; if not, the body is cut at once.

    - `body`: the list.
    - `piece`: bytes that are looked through at once; default 1 MiB.
    """
    first = _FIRST_KEY.match(body)
    found: list[msgspec.Raw] = []
    start = 0 if first is None else first.start(1)
    try:
        while first is not None and len(body) - start > piece:
            end = body.find(b"}," + first[1], start + piece) + 1
            if not end:
                break
            found += _cut(b"[" + body[start:end] + b"]")
            start = end + 1
            yield
        return [*found, *_cut(b"[" + body[start:])] if found else _cut(body)
    except UnreadableResponse:
        return _cut(body)


def unreadable(body: bytes, error: Exception) -> UnreadableResponse:
    """
    Return the error for a body that does not decode.

    `error` is what msgspec said of `body`. The result says where decoding failed, and never quotes the body.
    """
    return UnreadableResponse(f"a body of {len(body)} bytes does not decode: {error}")


def encode(value: object) -> bytes:
    """
    Return `value` as JSON.

    Raises InvalidRequest if a text in it holds lone surrogates, which cannot be encoded.
    """
    try:
        return msgspec.json.encode(value, enc_hook=to_wire)
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{error.object!r} cannot be sent: it holds half of a surrogate pair") from None

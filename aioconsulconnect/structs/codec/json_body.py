"""JSON bodies to structs and back: whole, or in slices between which others may run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import cache
from typing import TypeVar

import msgspec

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs.codec.duration import from_wire, to_wire

T = TypeVar("T")


Reader = Callable[[bytes], T]
InSlices = Generator[None, None, T]  # yields where others may run, and returns the value

_SLICE = 500


def reader(kind: type[T]) -> Reader[T]:
    """A function that decodes a JSON body into `kind`, and raises UnreadableResponse for any body that is not one."""

    @cache  # built at the first use: at import it would cost everyone who needs another one
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


def in_slices(whole: Reader[tuple[T, ...]], size: int = _SLICE) -> Callable[[bytes], InSlices[tuple[T, ...]]]:
    """
    The reader `whole` of a list, in slices.

    msgspec holds the interpreter while it decodes, so a thread would not help: a big list is first cut into its items,
    which is quick, and those are read a few hundred at a time.
    """
    cut = reader(list[msgspec.Raw])

    def read(body: bytes) -> InSlices[tuple[T, ...]]:
        items = cut(body)
        found: list[T] = []
        for start in range(0, len(items), size):
            yield
            found += whole(b"[" + b",".join(items[start : start + size]) + b"]")
        return tuple(found)

    return read


def unreadable(body: bytes, error: Exception) -> UnreadableResponse:
    """The error for a body that does not decode; it quotes where it failed, never the body itself."""
    return UnreadableResponse(f"a body of {len(body)} bytes does not decode: {error}")


def encode(value: object) -> bytes:
    """`value` as JSON; InvalidRequest where it holds what is not text at all (lone surrogates)."""
    try:
        return msgspec.json.encode(value, enc_hook=to_wire)
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{error.object!r} cannot be sent: it holds half of a surrogate pair") from None

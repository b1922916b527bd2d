"""What all structs share: Consul's spelling of keys, and `null` for what is empty."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import cache
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.wire.duration import from_wire, to_wire

T = TypeVar("T")

Reader = Callable[[bytes], T]
InSlices = Generator[None, None, T]  # yields where others may run, and returns the value

_SLICE = 500

if TYPE_CHECKING:
    # To a reader and a type checker the field is a T: __post_init__ keeps that promise.
    OrEmpty = Annotated[T, "null on the wire becomes the field's empty default"]
else:

    class OrEmpty:
        """`OrEmpty[T]`: a list, map or object of type `T` which Consul sends as `null` when there is nothing in it."""

        def __class_getitem__(cls, item: object) -> object:
            """What msgspec has to accept: T, or null."""
            return item | None


_ACRONYMS = {
    "acl": "ACL", "api": "API", "arn": "ARN", "ca": "CA", "csr": "CSR", "dc": "DC", "dns": "DNS", "grpc": "GRPC",
    "http": "HTTP", "id": "ID", "ids": "IDs", "ip": "IP", "ips": "IPs", "json": "JSON", "jwks": "JWKS", "jwt": "JWT",
    "mtls": "MTLS", "ns": "NS", "pem": "PEM", "pki": "PKI", "sni": "SNI", "tcp": "TCP", "tls": "TLS", "ttl": "TTL",
    "uri": "URI", "url": "URL", "wan": "WAN",
}  # fmt: skip


def consul_case(name: str) -> str:
    """The key that Consul uses for a field: `source_name` is `SourceName`, `service_id` is `ServiceID`."""
    return "".join(_ACRONYMS.get(word) or word.capitalize() for word in name.split("_"))


class Wire(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    repr_omit_defaults=True,
    gc=False,  # what JSON says has no circles, and thousands of items would keep the collector busy
    rename=consul_case,
):
    """
    A frozen struct of Consul's JSON.

    Unknown keys are ignored on read and never sent; missing ones get their default; a default is not sent, so an older
    server never sees a field that it does not know unless it was set.
    """


class Nullable(Wire, frozen=True, kw_only=True, omit_defaults=True, rename=consul_case):
    """A struct with fields of type `OrEmpty[…]`, whose `null` becomes the empty default of the field."""

    def __post_init__(self) -> None:
        """Put the field's default where the wire had null."""
        for name, default in _or_empty(type(self)):
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, default() if callable(default) else default)


@cache
def _or_empty(kind: type[Nullable]) -> tuple[tuple[str, object], ...]:
    return tuple(
        (field.name, field.default_factory if field.default is msgspec.NODEFAULT else field.default)
        for field in msgspec.structs.fields(kind)
        if type(None) in getattr(field.type, "__args__", ()) and field.default is not None
    )


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

"""
Base of all structs: hashes, and a repr without private keys.

It also has Consul's spelling of keys, and `null` for empty values.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from aioconsulconnect.errors import redact
from aioconsulconnect.structs.codec.containers import is_buffer, is_mapping, is_sequence, is_set

T = TypeVar("T")

if TYPE_CHECKING:
    # To a reader and a type checker the field is a T: __post_init__ keeps that promise.
    NullAsEmpty = Annotated[T, "null on the wire becomes the field's empty default"]
else:

    class NullAsEmpty:
        """
        Type of a field that Consul sends as `null` when it is empty.

        `NullAsEmpty[T]` is a list, map or object of type `T`. msgspec decodes it as `T | None`; `Nullable` then
        replaces None by the default of the field.
        """

        def __class_getitem__(cls, item: object) -> object:
            """Return the type that msgspec must accept: `item` or null."""
            return item | None


_ACRONYMS = {
    "acl": "ACL", "api": "API", "arn": "ARN", "ca": "CA", "csr": "CSR", "dc": "DC", "dns": "DNS", "grpc": "GRPC",
    "http": "HTTP", "id": "ID", "ids": "IDs", "ip": "IP", "ips": "IPs", "json": "JSON", "jwks": "JWKS", "jwt": "JWT",
    "mtls": "MTLS", "ns": "NS", "pem": "PEM", "pki": "PKI", "sni": "SNI", "tcp": "TCP", "tls": "TLS", "ttl": "TTL",
    "uri": "URI", "url": "URL", "wan": "WAN",
}  # fmt: skip


def consul_case(name: str) -> str:
    """Return Consul's key for a field: `SourceName` for `source_name`, `ServiceID` for `service_id`."""
    return "".join(_ACRONYMS.get(word) or word.capitalize() for word in name.split("_"))


class FrozenStruct(msgspec.Struct, frozen=True):
    """
    Struct that can be hashed, whatever it holds, and that never shows a private key.

    Maps and lists inside count by their content, so equal structs have equal hashes.
    """

    def __hash__(self) -> int:
        return hash((type(self), *(hashable(getattr(self, name)) for name in self.__struct_fields__)))

    def __repr__(self) -> str:
        return redact(msgspec.Struct.__repr__(self))

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Give pretty printers the fields, as redacted text where they hold a private key."""
        return redacted_fields(self)


def redacted_fields(struct: msgspec.Struct) -> list[tuple[str, object]]:
    """Return the fields of a struct for pretty printers, as redacted text where they hold a private key."""
    fields: list[tuple[str, object]] = []
    for name, value in msgspec.Struct.__rich_repr__(struct):
        shown = redact(text := repr(value))
        fields.append((name, value if shown == text else shown))
    return fields


def hashable(value: object) -> object:
    """
    Return what can be hashed in the place of any value; equal values give equal ones.

    What has no hash of its own, and is no JSON data, counts by its class.
    """
    if isinstance(value, str | FrozenStruct):
        return value
    if is_mapping(value):
        return frozenset((key, hashable(item)) for key, item in value.items())
    if is_buffer(value):
        return bytes(value)
    if is_sequence(value):
        return tuple(hashable(item) for item in value)
    if is_set(value):
        return frozenset(value)
    try:
        hash(value)
    except TypeError:
        return type(value)
    return value


class ConsulStruct(
    FrozenStruct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    repr_omit_defaults=True,
    gc=False,  # JSON has no reference cycles, and thousands of items would keep the collector busy
    rename=consul_case,
):
    """
    Frozen struct of Consul's JSON.

    Unknown keys are ignored when it is read, and missing ones get their default. A default is not sent, so an older
    server never sees a field that it does not know, unless that field was set.
    """


class Nullable(ConsulStruct, frozen=True, kw_only=True, omit_defaults=True, rename=consul_case):
    """Struct with fields of type `NullAsEmpty[…]`, for which `null` becomes the default of the field."""

    def __post_init__(self) -> None:
        """Replace None by the default of the field."""
        for name, default in _null_as_empty(type(self)):
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, default() if callable(default) else default)


@cache
def _null_as_empty(kind: type[Nullable]) -> tuple[tuple[str, object], ...]:
    return tuple(
        (field.name, field.default_factory if field.default is msgspec.NODEFAULT else field.default)
        for field in msgspec.structs.fields(kind)
        if type(None) in getattr(field.type, "__args__", ()) and field.default is not None
    )

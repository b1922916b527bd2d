"""What all structs share: Consul's spelling of keys, and `null` for what is empty."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

T = TypeVar("T")

if TYPE_CHECKING:
    # To a reader and a type checker the field is a T: __post_init__ keeps that promise.
    NullAsEmpty = Annotated[T, "null on the wire becomes the field's empty default"]
else:

    class NullAsEmpty:
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


class ConsulStruct(
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


class Nullable(ConsulStruct, frozen=True, kw_only=True, omit_defaults=True, rename=consul_case):
    """A struct with fields of type `OrEmpty[…]`, whose `null` becomes the empty default of the field."""

    def __post_init__(self) -> None:
        """Put the field's default where the wire had null."""
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

"""An answer as it came, and a value with its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError, redact
from aioconsulconnect.structs.codec.consul_struct import FrozenStruct
from aioconsulconnect.transport.metadata import Meta

T = TypeVar("T")


class Response(msgspec.Struct, frozen=True, dict=True):
    """
    An answer as it came.

    - `status`: HTTP status.
    - `headers`: headers, looked up in lower case.
    - `body`: body, decompressed.
    - `address`: the agent that gave it.
    - `anonymous`: no token was sent: then Consul hides items without saying so.
    - `error`: the error that the answer is where it is no success, worked out once by the transport; None for a
      success.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str = ""
    anonymous: bool = False
    error: ConsulError | None = None

    def __repr__(self) -> str:
        return redact(msgspec.Struct.__repr__(self))

    @cached_property
    def meta(self) -> Meta:
        """The metadata from the headers, read at the first use."""
        return Meta.of(self.headers)

    @property
    def is_page(self) -> bool:
        """True for a page of HTML, which something between the client and Consul has sent."""
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:1] == b"<"

    @property
    def text(self) -> str:
        """The body as text, trimmed: Consul's errors end in up to two newlines."""
        return self.body.decode("utf-8", "replace").strip()


class Reply(FrozenStruct, Generic[T], frozen=True):
    """
    A value with the metadata of the answer that brought it.

    - `value`: the value.
    - `meta`: metadata from the headers.
    """

    value: T
    meta: Meta

"""An answer as it came, and a value with its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.transport.metadata import Meta

T = TypeVar("T")


class Response(msgspec.Struct, frozen=True):
    """
    An answer as it came: `headers` is looked up in lower case, `address` is the agent that gave it.

    `anonymous` says that no token was sent: then Consul hides items without saying so.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str = ""
    anonymous: bool = False

    @property
    def meta(self) -> Meta:
        """What the headers say."""
        return Meta.of(self.headers)

    @property
    def text(self) -> str:
        """The body as text, trimmed: Consul's errors end in up to two newlines."""
        return self.body.decode("utf-8", "replace").strip()


class Reply(msgspec.Struct, Generic[T], frozen=True):
    """A value with the metadata of the answer that brought it."""

    value: T
    meta: Meta

"""An answer as it came, and a value with its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.transport.metadata import Meta

T = TypeVar("T")


class Response(msgspec.Struct, frozen=True, dict=True):
    """
    An answer as it came: `headers` is looked up in lower case, `address` is the agent that gave it.

    `anonymous` says that no token was sent: then Consul hides items without saying so. `error` is what the answer means
    where it is no success: worked out once, by whoever carried the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str = ""
    anonymous: bool = False
    error: ConsulError | None = None

    @cached_property
    def meta(self) -> Meta:
        """What the headers say, read at the first look."""
        return Meta.of(self.headers)

    @property
    def text(self) -> str:
        """The body as text, trimmed: Consul's errors end in up to two newlines."""
        return self.body.decode("utf-8", "replace").strip()


class Reply(msgspec.Struct, Generic[T], frozen=True):
    """A value with the metadata of the answer that brought it."""

    value: T
    meta: Meta

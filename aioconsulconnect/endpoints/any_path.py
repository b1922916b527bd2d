"""
Any path of Consul's API: reads that can be watched, and other calls.

They are for what no group of endpoints covers: `/v1/kv`, `/v1/catalog/services`, `/v1/session`, ….
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, Literal, TypeVar, cast, overload

import msgspec

from aioconsulconnect.endpoints.arguments import mapping
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import ErrorReason, InvalidRequest, UnreadableResponse
from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.codec.given_type import (
    Constant,
    GivenType,
    ItemsByKey,
    ItemsInSlices,
    OneItem,
    reader_in_slices,
    reader_of,
)
from aioconsulconnect.structs.codec.json_body import Reader, encode
from aioconsulconnect.structs.codec.request_body import refuse_nulls
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.transport.request import Parameters, Request, encoded
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import ALL_READ, Option, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

T = TypeVar("T")
Item = TypeVar("Item")
Name = TypeVar("Name")
Absent = TypeVar("Absent")

GivenParameters = Mapping[str, str | int | Sequence[str | int]]
Method = Literal["GET", "PUT", "POST", "DELETE"]
Source = Literal["servers", "agent", "streaming"]

_METHODS = ("GET", "PUT", "POST", "DELETE")
_WRITE: frozenset[Option] = frozenset({"datacenter", "namespace", "partition"})
_NAME = re.compile(r"[A-Za-z][\w.-]*", re.ASCII)
_OF_OPTIONS = {
    "dc": "datacenter", "ns": "namespace", "partition": "partition", "stale": "consistency",
    "consistent": "consistency", "cached": "cached", "token": "token",
}  # fmt: skip
_OF_WATCHES = frozenset({"index", "hash", "wait"})
_NOT_GIVEN: Final = object()


class AnyPath(Group):
    """Any path of the API: `query` for reads that can be watched, `request` for one call of any kind."""

    @overload
    def query(
        self,
        path: str,
        type: GivenType[tuple[Item, ...]],
        *,
        key: Callable[[Item], Hashable],
        absent: tuple[Item, ...] = ...,
        parameters: GivenParameters | None = None,
        options: Options | None = None,
    ) -> Query[tuple[Item, ...], Item]: ...
    @overload
    def query(
        self,
        path: str,
        type: GivenType[list[Item]],
        *,
        key: Callable[[Item], Hashable],
        absent: list[Item] = ...,
        parameters: GivenParameters | None = None,
        options: Options | None = None,
    ) -> Query[list[Item], Item]: ...
    @overload
    def query(
        self,
        path: str,
        type: GivenType[dict[Name, Item]],
        *,
        key: Callable[[tuple[Name, Item]], Hashable],
        absent: dict[Name, Item] = ...,
        parameters: GivenParameters | None = None,
        options: Options | None = None,
    ) -> Query[dict[Name, Item], tuple[Name, Item]]: ...
    @overload
    def query(
        self,
        path: str,
        type: GivenType[T],
        *,
        absent: Absent,
        parameters: GivenParameters | None = None,
        options: Options | None = None,
    ) -> Query[T | Absent, T]: ...
    @overload
    def query(
        self,
        path: str,
        type: GivenType[T],
        *,
        parameters: GivenParameters | None = None,
        options: Options | None = None,
    ) -> Query[T, T]: ...
    def query(
        self,
        path: str,
        type: GivenType[T],  # noqa: A002 - the word that fits, as in msgspec
        *,
        key: Callable[[Item], Hashable] | None = None,
        absent: Absent | object = _NOT_GIVEN,
        parameters: GivenParameters | None = None,
        options: Options | None = None,
    ) -> Query[T | Absent, Item]:
        """
        Any read of the API, which can be awaited and watched like all others.

        For example all keys below `app/`, with `class Pair(msgspec.Struct, rename="pascal")` and its fields `key: str`
        and `value: bytes | None` (Consul's keys are in CamelCase, and what a struct does not name is left out; a name
        with capitals, such as `SessionID`, takes `msgspec.field(name="SessionID")`):

            pairs = consul.query(
                "/v1/kv/app/", tuple[Pair, ...], key=lambda pair: pair.key, parameters={"recurse": ""}, absent=()
            )

        - `path`: path from `/v1/` on, not encoded.
        - `type`: a class that msgspec can decode JSON to: a Struct, a dataclass, `str`, `int`, `object` (JSON as it
          is), …, or `tuple[…, ...]`, `list[…]`, `dict[str, …]` of such, for which `null` counts as empty; or `bytes`
          for the body as it is (`?raw`). For what is no class to a type checker, such as a union: a function from the
          body to the value, such as the `decode` of `msgspec.json.Decoder[A | B]`, `bytes.decode`, or the
          `model_validate_json` of a pydantic model. What it raises becomes UnreadableResponse.
        - `key`: function from an item of the tuple, list or dict to what tells it from the others, always the same for
          the same item, so that `changes()` tells the items; an item of a dict is the pair of its key and value.
          Default: the whole value is one item, with `path` as its key.
        - `absent`: value where Consul says that there is no such thing, as it does for a missing key of `/v1/kv`. In a
          watch without `key`, an equal value is no item either. Default: that is NotFound.
        - `parameters`: query parameters, not encoded: a text or a number, a sequence of them for a parameter that is
          sent several times, "" for a flag. What `Options` has a field for is given by `options`.
        - `options`: options of this call, over the client's. All are sent, also where Consul ignores them.

        Watches share one poll where all arguments are equal, so give the same function each time, not a new lambda. A
        read that Consul cannot block on is watched by reading it at intervals.

        Raises InvalidRequest for what cannot be sent, and for a type that cannot be decoded. A watch raises it where
        `key` fails, or is the same for two items.
        """
        _check_key(key)
        sent = checked_path(path)
        given = checked_parameters(parameters, refused=_OF_WATCHES)
        sliced = None if key is None else reader_in_slices(type)
        request: Request[T | Absent] = Request(
            method="GET",
            path=sent,
            query=given,
            decode=_Decode(reader_of(type)),
            slices=None if sliced is None else _Sliced(sliced),
            accepted_options=ALL_READ,
        )
        spec: WatchSpec[T | Absent, Item] = WatchSpec(
            items=OneItem[Item](path, Constant(absent)) if key is None else ItemsByKey(key),  # without key Item is T
            items_in_slices=None if key is None else ItemsInSlices(key),
            cursor_kind="hash" if sent.startswith("/v1/agent/service/") else "index",
            source=_source(sent, given),
            value_when_absent=None if absent is _NOT_GIVEN else cast("Constant[Absent]", Constant(absent)),
        )
        return self._query(request, spec, options)

    @overload
    async def request(
        self,
        method: Method,
        path: str,
        *,
        body: object = None,
        type: None = None,
        parameters: GivenParameters | None = None,
        idempotent: bool = False,
        options: Options | None = None,
    ) -> bytes: ...
    @overload
    async def request(
        self,
        method: Method,
        path: str,
        *,
        type: GivenType[T],
        body: object = None,
        parameters: GivenParameters | None = None,
        idempotent: bool = False,
        options: Options | None = None,
    ) -> T: ...
    async def request(
        self,
        method: Method,
        path: str,
        *,
        body: object = None,
        type: GivenType[T] | None = None,  # noqa: A002 - as above
        parameters: GivenParameters | None = None,
        idempotent: bool = False,
        options: Options | None = None,
    ) -> T | bytes:
        """
        Send one call of any kind, and return its answer.

        For example `await consul.request("PUT", "/v1/kv/app/limit", body=b"5", type=bool)`. A GET changes nothing and
        is tried again like all reads; use `query` for one that is to be watched.

        - `method`: "GET", "PUT", "POST" or "DELETE". All but the first count as writes.
        - `path`: path from `/v1/` on, not encoded.
        - `body`: bytes, which are sent as they are, or an object that is sent as JSON. A text is refused, because it
          could mean either. Default: none.
        - `type`: type of the answer, as in `query`. Default: its bytes.
        - `parameters`: query parameters, as in `query`.
        - `idempotent`: True for a write that does no harm if it is applied twice: it is sent once more where the
          connection broke before its answer. Default False.
        - `options`: options of this call, over the client's. A write takes no `consistency` and no `cached`.

        Raises InvalidRequest for what cannot be sent, and OutcomeUnknown for a write whose answer was lost or cannot
        be read.
        """
        if method not in _METHODS:
            raise InvalidRequest(f"method must be 'GET', 'PUT', 'POST' or 'DELETE', not {method!r}")
        read = method == "GET"
        decode: Callable[[Response], T | bytes] = _body if type is None else _Decode(reader_of(type))
        request: Request[T | bytes] = Request(
            method=method,
            path=checked_path(path),
            query=checked_parameters(parameters),
            body=_sent_body(body, method),
            decode=decode if read else _OfWrite(decode),
            read=read,
            idempotent=idempotent,
            accepted_options=ALL_READ if read else _WRITE,
        )
        return await self._call(request, options)


def _check_key(key: object) -> None:
    if key is not None and not (callable(key) and getattr(key, "__hash__", None)):
        raise InvalidRequest(f"key takes a function from an item to its key, and one that can be hashed, not {key!r}")


def checked_path(path: str) -> str:
    """
    Return a path encoded.

    Raises InvalidRequest for a `path` that is not below `/v1/`, or for which Consul would serve another one or none.
    """
    path = str(path)  # None and bytes are refused like other texts that are no path
    if not path.startswith("/v1/") or path == "/v1/":
        raise InvalidRequest(f"a path begins with /v1/ and names something there, unlike {path!r}")
    if "?" in path or "#" in path:
        raise InvalidRequest(f"{path!r} has a '?' or '#': give what follows it as `parameters`")
    if not path.isprintable():
        raise InvalidRequest(f"{path!r} has a character that cannot be printed, which Consul takes in no path")
    first, *others = path.removeprefix("/v1/").split("/")
    if others and not others[-1]:
        others.pop()  # `/v1/kv/` and `/v1/kv/folder/` are paths of their own
    if any(part in {"", ".", ".."} for part in (first, *others)):
        raise InvalidRequest(f"{path!r} has a part that is empty, '.' or '..', so Consul would serve another path")
    return encoded(path, safe="*/")


def checked_parameters(given: GivenParameters | None, refused: frozenset[str] = frozenset()) -> Parameters:
    """
    Return query parameters as a request has them.

    - `given`: the parameters of the caller, None for none.
    - `refused`: names that only watches send.

    Raises InvalidRequest for names and values that cannot be sent, and for those that `Options` has a field for.
    """
    found: list[tuple[str, str]] = []
    for name, value in mapping("parameters", given or {}, object).items():
        if not _NAME.fullmatch(str(name)):
            raise InvalidRequest(f"{name!r} is no name of a query parameter")
        if name in _OF_OPTIONS:
            raise InvalidRequest(f"give the parameter {name} as options=Options({_OF_OPTIONS[name]}=…)")
        if name in refused:
            raise InvalidRequest(f"the parameter {name} is sent by a watch alone: use query(…).watch()")
        values = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (value,)
        for each in values:
            if isinstance(each, bool) or not isinstance(each, str | int):
                raise InvalidRequest(
                    f"the parameter {name} takes texts and numbers, not {each!r}: a flag is '', and Consul's words"
                    " are 'true' and 'false'"
                )
            found.append((name, str(each)))
    return tuple(found)


def _sent_body(body: object, method: str) -> bytes | None:
    if body is None:
        return None
    if method == "GET":
        raise InvalidRequest("a GET has no body")
    if isinstance(body, str):
        raise InvalidRequest("body must be bytes or an object for JSON; a text is sent as bytes: text.encode()")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(cast("bytes", body))
    refuse_nulls(body, refused="nowhere")
    return encode(plain(body))


def _source(path: str, given: Parameters) -> Source:
    if path.startswith("/v1/agent/"):
        return "agent"
    near = any(name == "near" for name, _ in given)
    return "streaming" if path.startswith(("/v1/health/service/", "/v1/health/connect/")) and not near else "servers"


class _Decode(msgspec.Struct, Generic[T], frozen=True):
    """Reader of an answer; two of equal types are equal, so that their watches share a poll."""

    read: Reader[T]

    def __call__(self, response: Response) -> T:
        return self.read(response.body)


class _Sliced(msgspec.Struct, Generic[T], frozen=True):
    """Reader of a large answer, in steps."""

    read: Callable[[bytes], InSlices[T]]

    def __call__(self, response: Response) -> InSlices[T]:
        return (yield from self.read(response.body))


def _body(response: Response) -> bytes:
    return response.body


class _OfWrite(msgspec.Struct, Generic[T], frozen=True):
    """Reader of an answer to a write: none of Consul's is a page, while a value that is read may well be one."""

    decode: Callable[[Response], T]

    def __call__(self, response: Response) -> T:
        if response.is_page:
            raise UnreadableResponse(
                "a page of HTML answered: something in between, not Consul", reason=ErrorReason.NOT_CONSUL
            )
        return self.decode(response)

"""`/v1/kv`: the store of keys, without the locks of sessions."""

import base64
import re
from typing import Final
from urllib.parse import urlencode

from aioconsulconnect.testing.go_json.values import Object, number, text
from aioconsulconnect.testing.handlers.context import AgentContext, Found
from aioconsulconnect.testing.protocol.refusals import Refused, failed
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.tables.keys import KeyTable

_LARGEST: Final = 512 * 1024
_LARGEST_NUMBER: Final = 2**64 - 1
_SANDBOX: Final = (("Content-Security-Policy", "sandbox"), ("X-Content-Type-Options", "nosniff"))


class Keys:
    """The handlers of `/v1/kv` for one agent (`context`), whose keys are in `table`."""

    def __init__(self, context: AgentContext, table: KeyTable) -> None:
        self.context = context
        self.table = table

    async def get(self, request: ConsulRequest) -> Reply:
        """Answer with a key, with all below it, or with their names (`GET /v1/kv/KEY`)."""
        request.read_options()
        request.enterprise_options()
        if "keys" in request.query:
            return await self._below(request, names=True)
        if "recurse" in request.query:
            return await self._below(request, names=False)
        self._named(request)
        context, table, key = self.context, self.table, request.rest

        def query() -> Found[Object | None]:
            context.check_datacenter(request)
            context.acl.require(context.acl.resolve(request.token), "key", "read", key)
            row = table.get(key)
            if row is None:
                return Found(None, table.index(), ("kv",), absent=context.facts.absent_keys_wait)
            return Found(row, number(row, "ModifyIndex"), (f"kv/{key}", "kv"))

        found = await context.block(request, query)
        meta = context.meta(request, found)
        if found.value is None:
            return Reply(b"", 404, None, meta)
        if "raw" in request.query:
            value = base64.b64decode(text(found.value, "Value"))
            return Reply(value, content_type="text/plain", meta=meta, headers=_SANDBOX)
        return Reply([found.value], meta=meta)

    async def _below(self, request: ConsulRequest, *, names: bool) -> Reply:
        context, table, prefix = self.context, self.table, request.rest

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            every = table.below(prefix)
            seen = [row for row in every if who.may("key", "read", text(row, "Key"))]
            return Found(seen, table.index(prefix), ("kv",), filtered=len(seen) < len(every) and who.named)

        found = await context.block(request, query)
        meta = context.meta(request, found)
        if not found.value and (prefix or not names):
            return Reply(b"", 404, None, meta)
        if not names:
            return Reply(found.value, meta=meta)
        shown = (_folded(text(row, "Key"), prefix, request.first("separator")) for row in found.value)
        return Reply(list(dict.fromkeys(shown)), meta=meta)

    async def put(self, request: ConsulRequest) -> Reply:
        """Write a key, if need be only at an index (`PUT /v1/kv/KEY`)."""
        request.read_options()
        request.enterprise_options()
        self._named(request)
        self._refuse_conflict(request, "cas", "acquire", "release")
        flags, index = _number(request, "flags"), _number(request, "cas")
        if "acquire" in request.query or "release" in request.query:
            raise Refused(501, "The in-process agent does not model sessions, and so no locks of keys")
        if len(request.body) > _LARGEST:
            page = self.context.facts.value_limit_page
            raise Refused(
                413,
                f"Request body({len(request.body)} bytes) too large, max size: {_LARGEST} bytes. "
                f"See https://{page}#kv_max_value_size.",
            )
        self.context.acl.require(self._who(request), "key", "write", request.rest)
        if index is not None and index != self._index_of(request.rest):
            return Reply(body=False)
        self.table.put(request.rest, request.body, flags or 0)
        return Reply(body=True)

    async def delete(self, request: ConsulRequest) -> Reply:
        """Delete a key, if need be only at an index, or all below it (`DELETE /v1/kv/KEY`)."""
        request.read_options()
        request.enterprise_options()
        recurse = "recurse" in request.query
        if not recurse:
            self._named(request)
        self._refuse_conflict(request, "recurse", "cas")
        index, key, acl = _number(request, "cas"), request.rest, self.context.acl
        who = self._who(request)
        if recurse:
            if not who.may_write_keys_below(key):
                raise acl.denied(who, "key:write", key)
            self.table.delete(*(text(row, "Key") for row in self.table.below(key)))
            return Reply(body=True)
        acl.require(who, "key", "write", key)
        if index is not None and self.table.get(key) is not None and index != self._index_of(key):
            return Reply(body=False)
        self.table.delete(key)
        return Reply(body=True)

    def _who(self, request: ConsulRequest) -> Authorizer:
        self.context.check_datacenter(request)
        return self.context.acl.resolve(request.token)

    def _index_of(self, key: str) -> int:
        row = self.table.get(key)
        return number(row, "ModifyIndex") if row else 0

    @staticmethod
    def _named(request: ConsulRequest) -> None:
        if not request.rest:
            raise Refused(400, "Missing key name")

    def _refuse_conflict(self, request: ConsulRequest, *exclusive: str) -> None:
        """Refuse more than one of some parameters."""
        if len(set(exclusive) & set(request.query)) > 1:
            written = urlencode({name: request.query[name] for name in sorted(request.query)}, doseq=True)
            end = "\n" * self.context.facts.conflicts_end_in_newline
            raise Refused(400, f"Conflicting flags: {written}{end}")


def _number(request: ConsulRequest, name: str) -> int | None:
    """The value of a parameter that is a number; None where it is absent."""
    if name not in request.query:
        return None
    written = request.first(name)
    if not re.fullmatch(r"[0-9]+", written):
        raise failed(f'strconv.ParseUint: parsing "{written}": invalid syntax')
    if int(written) > _LARGEST_NUMBER:
        raise failed(f'strconv.ParseUint: parsing "{written}": value out of range')
    return int(written)


def _folded(key: str, prefix: str, separator: str) -> str:
    """The name of a key as a listing with a separator shows it: up to the first one after the prefix."""
    at = key.find(separator, len(prefix)) if separator else -1
    return key if at < 0 else key[: at + len(separator)]

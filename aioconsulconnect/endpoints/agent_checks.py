"""Endpoints under `/v1/agent/check`: the checks of the agent's services, and of its node."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.endpoints.arguments import check_new_name, path_to
from aioconsulconnect.endpoints.group import Group, read_nothing
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.agent import Check, CheckStatus, CheckUpdate, check_body, read_checks
from aioconsulconnect.structs.catalog import HealthCheck
from aioconsulconnect.structs.codec.request_body import request_body
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Option, Options

TENANCY: frozenset[Option] = frozenset({"namespace", "partition"})


class AgentChecks(Group):
    """
    Endpoints of the checks of an agent, a part of `Agent`.

    What reports a TTL check may be sent twice: it is repeated once where the connection breaks.
    """

    async def checks(
        self,
        *,
        filter: str = "",  # noqa: A002 - Consul's word
        options: Options | None = None,
    ) -> Mapping[str, HealthCheck]:
        """
        Read all checks of the agent, by id: those of its services, and those of its node.

        `GET /v1/agent/checks`. It cannot be watched. What the token may not see is left out without an error.

        - `filter`: filter expression, such as `Status != "passing"`; default: all.
        - `options`: options of this call, over the client's.
        """
        query: Parameters = (("filter", filter),) if filter else ()
        request = Request(
            method="GET", path=path_of("agent", "checks"), query=query, decode=_checks, accepted_options=TENANCY
        )
        return await self._call(request, options)

    async def register_check(
        self, check: Check, *, service_id: str = "", service_token: str = "", options: Options | None = None
    ) -> None:
        """
        Register a check by itself, of the agent's node or of a service that is registered, or replace it.

        `PUT /v1/agent/check/register`. Needs `service:write` on the service, or `node:write` on the node.

        - `check`: the check; it needs a `name`, which is its id where `check_id` is empty.
        - `service_id`: id of the service whose health it counts for; default: the node, and so all services on it.
        - `service_token`: ACL token with which the agent announces the check.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for a check without a name, or with an id by which it could not be removed later, and
        NotFound for an unknown service.
        """
        if not isinstance(check, Check):
            raise InvalidRequest(f"check takes a Check, not {check!r:.40}")
        if not check.name:
            raise InvalidRequest("check.name: a check that is registered by itself needs one")
        check_check("check", check)
        check_new_name("check.name" if not check.check_id else "check.check_id", check.check_id or check.name)
        body = check_body(check, service_id, service_token)
        await self._put(path_of("agent", "check", "register"), options, body=body)

    async def deregister_check(self, check_id: str, *, options: Options | None = None) -> None:
        """
        Remove a check from the agent, also one that came with a service.

        `PUT /v1/agent/check/deregister/:id`. Needs the same right as registering it.

        - `check_id`: id of the check. Raises NotFound for an unknown one from Consul 1.12; before it is no error.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for an id that no Consul takes in a path, such as one with a line break; such a check goes
        with its service.
        """
        await self._put(path_to("agent", "check", "deregister", name=check_id), options, removes=True)

    async def check_update(
        self, check_id: str, *, status: CheckStatus, output: str = "", options: Options | None = None
    ) -> None:
        """
        Set a TTL check to a status, for as long as its TTL.

        `PUT /v1/agent/check/update/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `status`: "passing", "warning" or "critical".
        - `output`: text for people to read, of which Consul keeps the last 4 KiB; default empty.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for another status.
        """
        if status not in ("passing", "warning", "critical"):
            raise InvalidRequest(f"status must be 'passing', 'warning' or 'critical', not {status!r}")
        body = request_body(CheckUpdate(status=status, output=output))
        await self._put(path_of("agent", "check", "update", check_id), options, body=body)

    async def check_pass(self, check_id: str, *, note: str = "", options: Options | None = None) -> None:
        """
        Set a TTL check to passing, for as long as its TTL.

        `PUT /v1/agent/check/pass/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `note`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        await self._check("pass", "passing", check_id, note, options)

    async def check_warn(self, check_id: str, *, note: str = "", options: Options | None = None) -> None:
        """
        Set a TTL check to warning, for as long as its TTL.

        `PUT /v1/agent/check/warn/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `note`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        await self._check("warn", "warning", check_id, note, options)

    async def check_fail(self, check_id: str, *, note: str = "", options: Options | None = None) -> None:
        """
        Set a TTL check to critical.

        `PUT /v1/agent/check/fail/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `note`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        await self._check("fail", "critical", check_id, note, options)

    async def _check(self, verb: str, status: CheckStatus, check_id: str, note: str, options: Options | None) -> None:
        if note:  # in a body it can be long: many proxies take no more than 8 KiB in the first line of a request
            await self.check_update(check_id, status=status, output=note, options=options)
        else:
            await self._put(path_of("agent", "check", verb, check_id), options)

    async def _put(
        self,
        path: str,
        options: Options | None,
        *,
        query: Parameters = (),
        body: bytes | None = None,
        removes: bool = False,
    ) -> None:
        request = Request(
            method="PUT",
            path=path,
            query=query,
            body=body,
            decode=read_nothing,
            read=False,
            idempotent=True,
            removes=removes,
            accepted_options=TENANCY,
        )
        await self._call(request, options)


def check_check(argument: str, check: Check) -> None:
    """
    Raise InvalidRequest for a check that ends an agent, or that could not be removed later.

    - `argument`: the argument, for the error.
    - `check`: the check.
    """
    if check.check_id:
        check_new_name(f"{argument}.check_id", check.check_id)
    if check.alias_node and not check.alias_service:
        raise InvalidRequest(f"{argument}: alias_node goes with alias_service; without, some agents end at once")


def _checks(response: Response) -> Mapping[str, HealthCheck]:
    return read_checks(response.body)

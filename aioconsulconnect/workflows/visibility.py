"""
Visibility of intentions: what a list shows to a token, learnt from the agent.

A list leaves out what the token may not read. Only from 1.11 on it tells, and never a caller without a token.
"""

from __future__ import annotations

import msgspec

from aioconsulconnect.endpoints.capabilities import probe
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import BadRequest, ConsulError, ErrorReason, NotFound, PermissionDenied, Unsupported
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, Nullable, NullAsEmpty
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS

_MANAGEMENT = "00000000-0000-0000-0000-000000000001"  # the same policy in every Consul
_MARKS_SINCE = "1.11"
_AGAIN = 30.0  # seconds

REFUSALS = (BadRequest, NotFound, PermissionDenied, Unsupported)
"""Answers of Consul that refuse; whatever else fails is an outage, and says nothing."""


class Visibility(msgspec.Struct, frozen=True, kw_only=True):
    """
    Knowledge of what a list of intentions shows to the token; None where something is not known.

    - `acls`: True if the agent enforces ACLs, so that something may be left out.
    - `management`: True if the token has the policy `global-management`, for which nothing is left out.
    - `marks`: True if the agent marks an answer that leaves something out for a token (Consul 1.11).
    """

    acls: bool | None = None
    management: bool | None = None
    marks: bool | None = None

    def is_whole(self, *, anonymous: bool) -> bool:
        """
        Return True if a list without the mark is known to hold all intentions.

        `anonymous` says that it was asked for without a token.
        """
        return self.acls is False or self.management is True or (self.marks is True and not anonymous)

    def missing(self, *, anonymous: bool) -> str:
        """
        Return what to do so that a list is known to be whole.

        `anonymous` says that it was asked for without a token.
        """
        if self.acls is None:
            return "GET /v1/acl/token/self does not tell if the agent has ACLs, which could hide intentions"
        if anonymous:
            return "without a token Consul may leave out intentions: give one that may read all of them"
        return "this agent does not tell what it leaves out for a token (Consul 1.11 does): name the destinations"


class _Link(ConsulStruct, frozen=True):
    id: str = ""


class _Token(Nullable, frozen=True):
    policies: NullAsEmpty[tuple[_Link, ...]] = ()


_read = reader(_Token)


class VisibilityProbe(Group):
    """
    Probe of what the caller's token sees, by questions that need no rights.

    - `sender`, `pool`, `options`: those of the client.

    Attribute `known` is what the last answers said.
    """

    known: Visibility = Visibility()
    _about: tuple[object, float] = (None, 0.0)
    _sent = _taken = 0  # the order of questions: the answer to an older one than the last that was answered is dropped

    async def ask(self, about: object, now: float) -> None:
        """
        Ask the agent: `GET /v1/acl/token/self`, and for its version where that matters.

        Raises the error of an outage, and then knows what it knew.

        - `about`: the list that was seen before the question; about the same one it is asked every half minute.
        - `now`: the time.
        """
        seen, when = self._about
        if about is not seen or now - when >= _AGAIN:
            await self._learn()
            self._about = about, now

    async def ask_again(self) -> bool:
        """
        Ask once more, if it was ever asked.

        Also where a list stays the same, something may be hidden from now on. Return False for an outage, which says
        nothing: then it knows what it knew.
        """
        try:
            if self._about[0] is not None:
                await self._learn()
        except ConsulError:
            return False
        return True

    async def _learn(self) -> None:
        self._sent += 1
        order = self._sent
        found = await self._ask()
        if order > self._taken:
            self.known, self._taken = found, order

    async def _ask(self) -> Visibility:
        request = Request(method="GET", path=path_of("acl", "token", "self"), decode=_own_token)
        try:
            token = await self._call(request, None)
        except ConsulError as error:
            if not isinstance(error, REFUSALS):
                raise
            # Only where there are no ACLs are the words of the refusal that there are none.
            if error.reason is ErrorReason.ACL_DISABLED:
                return Visibility(acls=False)
            token = _Token()
        if any(policy.id == _MANAGEMENT for policy in token.policies):
            return Visibility(acls=True, management=True)
        return Visibility(acls=True, management=False, marks=await self._marks())

    async def _marks(self) -> bool | None:
        try:
            return (await probe(self._sender, NO_OPTIONS.over(self._defaults))).knows(_MARKS_SINCE)
        except REFUSALS:
            return None


def _own_token(response: Response) -> _Token:
    return _read(response.body)

"""What an agent is able to: from its version where it tells, from its answers where it does not."""

from __future__ import annotations

from aioconsulconnect.compatibility import OLDEST, Capabilities, version_of
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import ErrorReason, PermissionDenied, Unsupported
from aioconsulconnect.structs.agent import read_info
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.options import NO_OPTIONS, Options
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.poller_pool import PollerPool

_SELF = path_of("agent", "self")
_NOWHERE = path_of("no-such-endpoint")
_EXPORTED = path_of("exported-services")
_ROOTS = path_of("connect", "ca", "roots")
_DENIED_SINCE = {ErrorReason.TOKEN_LACKS_PERMISSION: "1.12", ErrorReason.ANONYMOUS_LACKS_PERMISSION: "1.16"}


class Prober(Group):
    """Finds out, and remembers for each agent: `await consul.capabilities()`."""

    def __init__(self, sender: Sender, pool: PollerPool, options: Options) -> None:
        super().__init__(sender, pool, options)
        self._found: dict[str, Capabilities] = {}

    async def __call__(self, *, refresh: bool = False, options: Options | None = None) -> Capabilities:
        """
        What the agent in use is able to (`GET /v1/agent/self`), remembered until `refresh`.

        Where the token lacks `agent:read`, three harmless reads tell a version that it is at least.
        """
        known = self._found.get(self._sender.addresses[0])
        if known is None or refresh:
            known = await probe(self._sender, (options or NO_OPTIONS).over(self._defaults))
            self._found[known.address] = known
        return known


async def probe(sender: Sender, options: Options) -> Capabilities:
    """Ask the agent now."""
    try:
        response = await sender.send(_get(_SELF, options))
    except PermissionDenied as denied:
        at_least = max([_by_denial(denied), *await _by_answers(sender, options)], key=version_of)
        return Capabilities(address=denied.address, version=None, at_least=at_least)
    version = read_info(response.body).version
    return Capabilities(address=response.address, version=version, at_least=version)


def _by_denial(denied: PermissionDenied) -> str:
    """A denial says more from version to version."""
    return _DENIED_SINCE.get(denied.reason, OLDEST)


async def _by_answers(sender: Sender, options: Options) -> list[str]:
    """What three reads prove that need no rights: an unknown path, one that came with 1.17.3, and the CA's roots."""
    proved: list[str] = []
    try:
        await sender.send(_get(_NOWHERE, options, "1.11"))
    except Unsupported as error:
        if error.reason is ErrorReason.UNKNOWN_PATH:
            proved.append("1.11")
    try:
        await sender.send(_get(_EXPORTED, options, "1.17.3"))
        proved.append("1.17.3")
    except PermissionDenied:
        proved.append("1.17.3")
    except Unsupported:
        pass
    try:
        meta = Meta.of((await sender.send(_get(_ROOTS, options))).headers)
    except Unsupported:  # Connect is off
        return proved
    if meta.backend is not None:
        proved.append("1.10.1")
    if meta.default_acl_policy is not None:
        proved.append("1.9")
    return proved


def _get(path: str, options: Options, min_version: str = "") -> Request[Response]:
    # Where it is sent and with which token is all that matters: an agent answers these for itself.
    return Request(
        method="GET",
        path=path,
        decode=lambda response: response,
        options=Options(token=options.token, timeout=options.timeout),
        min_version=min_version,  # without it an agent's answer to an unknown path could be anybody's
    )

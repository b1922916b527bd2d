"""Capabilities of an agent: from its version where it tells that, else from how it answers."""

from __future__ import annotations

from aioconsulconnect.compatibility import OLDEST, Capabilities, version_of
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import ErrorReason, PermissionDenied, Unsupported
from aioconsulconnect.structs.agent import read_info
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool

_SELF = path_of("agent", "self")
_NOWHERE = path_of("no-such-endpoint")
_EXPORTED = path_of("exported-services")
_ROOTS = path_of("connect", "ca", "roots")
_DENIED_SINCE = {ErrorReason.TOKEN_LACKS_PERMISSION: "1.12", ErrorReason.ANONYMOUS_LACKS_PERMISSION: "1.16"}


class Prober(Group):
    """
    Detection of an agent's capabilities, remembered for each agent: `await consul.capabilities()`.

    - `sender`: sends the requests.
    - `pool`: pollers of the client.
    - `options`: default options of the client.
    """

    def __init__(self, sender: Sender, pool: PollerPool, options: Options) -> None:
        super().__init__(sender, pool, options)
        self._found: dict[str, Capabilities] = {}

    async def __call__(self, *, refresh: bool = False, options: Options | None = None) -> Capabilities:
        """
        Return the capabilities of the agent in use.

        `GET /v1/agent/self`. Where the token lacks `agent:read`, three harmless reads show a version that the agent has
        at least.

        - `refresh`: ask the agent again, instead of returning what is remembered; default False.
        - `options`: options of this call, over the client's.
        """
        known = self._found.get(self._sender.addresses[0])
        if known is None or refresh:
            known = await probe(self._sender, (options or NO_OPTIONS).over(self._defaults))
            self._found[known.address] = known
        return known


async def probe(sender: Sender, options: Options) -> Capabilities:
    """
    Ask the agent now, and return its capabilities.

    `sender` sends the requests; of `options` the token and the timeout count.
    """
    try:
        response = await sender.send(_get(_SELF, options))
    except PermissionDenied as denied:
        at_least = max([_by_denial(denied), *await _by_answers(sender, options)], key=version_of)
        return Capabilities(address=denied.address, version=None, at_least=at_least)
    version = read_info(response.body).version
    return Capabilities(address=response.address, version=version, at_least=version)


def _by_denial(denied: PermissionDenied) -> str:
    """
    Return the version that a denial proves at least.

    Its text becomes more precise from version to version.
    """
    return _DENIED_SINCE.get(denied.reason, OLDEST)


async def _by_answers(sender: Sender, options: Options) -> list[str]:
    """
    Return the versions that three reads prove, which need no rights.

    They are of an unknown path, of one that came with Consul 1.17.3, and of the CA's roots.
    """
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
    # Only token and timeout are kept of the options: an agent answers these requests for itself.
    return Request(
        method="GET",
        path=path,
        decode=lambda response: response,
        options=Options(token=options.token, timeout=options.timeout),
        min_version=min_version,  # without it an empty 404 would not count as the agent's own answer
    )

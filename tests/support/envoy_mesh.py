"""A service whose Envoy is configured by a real Consul, and callers with leaves that this Consul made."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError
from urllib.parse import quote

import msgspec
from support.agents import RealAgent, free_ports
from support.authorization_oracle import Call
from support.envoy_callers import App, Connection
from support.envoy_process import Envoy

from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import Action, Intention

Json = dict[str, Any]
SENTINEL = "sentinel"
_PUBLIC = "public_listener"
_PATIENCE = 30


class Leaf(NamedTuple):
    """A caller's certificate: its URI, and what a client uses."""

    uri: str
    context: ssl.SSLContext


class Sidecar:
    """
    A service of an agent, with its own Envoy. It is an async context manager.

    - `name`: the service.
    - `protocol`: "http" or "tcp".
    - `default`: what holds where no intention matches, in the agent's configuration.
    """

    def __init__(self, agent: RealAgent, name: str, protocol: str, default: Action, folder: Path) -> None:
        self.name = name
        self._agent = agent
        self._protocol = protocol
        self._default = default
        self._folder = folder
        self._port = free_ports().http
        self._leaves: dict[str, Leaf] = {}
        self._stack = AsyncExitStack()
        self._turn = 0
        self._envoy: Envoy | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            app = await stack.enter_async_context(App(echo=self._protocol == "tcp"))
            call = self._agent.acall
            entry = {"Kind": "service-defaults", "Name": self.name, "Protocol": self._protocol}
            await call("PUT", "/v1/config", entry)
            proxy = {"LocalServiceAddress": "127.0.0.1", "Config": {"bind_address": "127.0.0.1"}}
            sidecar = {"Port": self._port, "Address": "127.0.0.1", "Proxy": proxy}
            service = {"Name": self.name, "Port": app.port, "Connect": {"SidecarService": sidecar}}
            await call("PUT", "/v1/agent/service/register", service)
            envoy = Envoy(await asyncio.to_thread(self._bootstrap), self._folder)
            self._envoy = await stack.enter_async_context(envoy)
            async with asyncio.timeout(_PATIENCE):
                await envoy.wait_for_listeners(_PUBLIC)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _bootstrap(self) -> Json:
        """The configuration that Consul's own command makes."""
        command = [self._agent.binary, "connect", "envoy", "-sidecar-for", self.name, "-bootstrap"]
        command += ["-http-addr", self._agent.url, "-grpc-addr", f"127.0.0.1:{grpc_port(self._agent)}"]
        command += ["-ignore-envoy-compatibility", *(["-token", self._agent.token] if self._agent.token else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert not done.returncode, done.stderr
        made: Json = json.loads(done.stdout)
        return made

    async def leaf(self, name: str) -> Leaf:
        """The certificate that the agent makes for a service."""
        if name not in self._leaves:
            answer = await self._agent.acall("GET", f"/v1/agent/connect/ca/leaf/{quote(name, safe='')}")
            path = self._folder / f"caller-{len(self._leaves)}.pem"
            path.write_text(answer["CertPEM"] + answer["PrivateKeyPEM"])
            roots = await self._agent.acall("GET", "/v1/connect/ca/roots")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(cadata="".join(root["RootCert"] for root in roots["Roots"]))
            context.load_cert_chain(path)
            self._leaves[name] = Leaf(answer["ServiceURI"], context)
        return self._leaves[name]

    async def dial(self, name: str) -> Connection:
        """A new connection of a caller, under the rules that Envoy has now."""
        return Connection(self._port, (await self.leaf(name)).context, self.name)

    async def apply(self, intentions: Sequence[Intention]) -> None:
        """
        Replace all intentions for it and for `*`, and return when its Envoy has them.

        One more intention, which changes each time, tells when that is. It is in the same config entry as those for the
        service, and this is written last.
        """
        await self.write(intentions)
        connection = await self.dial(SENTINEL)
        async with asyncio.timeout(_PATIENCE):
            while not await self._has_sentinel(connection):
                await asyncio.sleep(0.02)

    async def write(self, intentions: Sequence[Intention]) -> None:
        """Replace all intentions for it and for `*`."""
        self._turn += 1
        await self._write("*", [_source(one) for one in intentions if one.destination_name == "*"])
        own = [_source(one) for one in intentions if one.destination_name.lower() == self.name]
        await self._write(self.name, [*own, self._sentinel()])

    async def refused(self) -> int:
        """How often its Envoy refused what Consul sent."""
        assert self._envoy is not None
        counters = await asyncio.to_thread(self._envoy.counters)
        return counters.get("listener_manager.lds.update_rejected", 0)

    async def _write(self, destination: str, sources: list[Json]) -> None:
        entry = {"Kind": "service-intentions", "Name": destination, "Sources": sources}
        if sources:
            try:
                await self._agent.acall("PUT", "/v1/config", entry)
            except HTTPError as error:
                raise AssertionError(f"{error.read().decode()}: {entry}") from error
        else:
            await self._agent.acall("DELETE", f"/v1/config/service-intentions/{quote(destination, safe='')}")

    @property
    def _against_default(self) -> str:
        return "deny" if self._default == "allow" else "allow"

    def _sentinel(self) -> Json:
        if self._protocol == "tcp":
            return {"Name": SENTINEL, "Action": self._against_default if self._turn % 2 else self._default}
        permission = {"Action": self._against_default, "HTTP": {"PathExact": f"/turn-{self._turn}"}}
        return {"Name": SENTINEL, "Permissions": [permission]}

    async def _has_sentinel(self, connection: Connection) -> bool:
        async with connection:  # each question on a connection of its own: an open one keeps its rules
            if self._protocol == "tcp":
                expected = self._against_default if self._turn % 2 else self._default
                return await connection.is_served() is (expected == "allow")
            outcome = await connection.request(Call("GET", f"/turn-{self._turn}", (("Host", self.name),)))
            return outcome.status == (200 if self._against_default == "allow" else 403)


def grpc_port(agent: RealAgent) -> int:
    """The port on which an agent speaks to proxies."""
    ports = agent.config["ports"]
    assert isinstance(ports, dict)
    return int(ports["grpc"])


def normalization_entry(normalization: RequestNormalization) -> Json:
    """The mesh entry with this normalization."""
    incoming = {"RequestNormalization": _without_defaults(normalization)}
    return {"Kind": "mesh", "HTTP": {"Incoming": incoming}}


def _source(intention: Intention) -> Json:
    made: Json = {"Name": intention.source_name}
    if intention.source_peer:
        made["Peer"] = intention.source_peer
    if intention.permissions:
        return made | {"Permissions": [_without_defaults(permission) for permission in intention.permissions]}
    return made | {"Action": intention.action}


def _without_defaults(struct: msgspec.Struct) -> Json:
    """What Consul reads, as the package would write it."""
    made: Json = json.loads(msgspec.json.encode(struct))
    return made

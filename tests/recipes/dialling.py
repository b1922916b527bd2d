"""
Dials a service of the mesh without a proxy: a healthy instance, the next where one fails, over mutual TLS.

    python dialling.py web db

`web` is the service that this program is (a token with `service:write` on it gets its certificate), `db` the one to
dial. Watches keep instances, certificate and roots up to date. While Consul fails, what they saw last is dialled: the
handshake proves who answers, so an old instance can only be a dead end. Whether `web` may connect is decided over there
(a denial shows as a connection that is closed). For TCP, one datacenter and the default namespace.
"""

import asyncio
import random
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from tempfile import NamedTemporaryFile

from aioconsulconnect import Consul, Root, Roots, SpiffeId, Watch
from aioconsulconnect.structs import Instance, Leaf

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CONNECT_TIMEOUT = 3.0  # seconds for each instance, the handshake included
READY_TIMEOUT = 10.0  # seconds for the first data of each watch


@dataclass
class Dialler:
    """Opens connections to one service."""

    service: str
    instances: Watch[tuple[Instance, ...], Instance]
    leaf: Watch[Leaf, Leaf]
    roots: Watch[Roots, Root]

    async def connect(self) -> Streams:
        """A connection to any healthy instance; ConnectionError with all reasons where there is none."""
        failures: list[str] = []
        for instance in random.sample(self.instances.current, len(self.instances.current)):  # spreads the load
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await self._dial(instance)
            except (OSError, ValueError) as error:  # refused, timed out, no TLS, or a certificate of another service
                failures.append(f"{instance.service.id} at {instance.address}:{instance.port}: {error!r}")
        reasons = "; ".join(failures) or f"no healthy instance, the watch is {self.instances.status.state}"
        raise ConnectionError(f"{self.service}: {reasons}")

    async def _dial(self, instance: Instance) -> Streams:
        roots, datacenter = self.roots.current, instance.node.datacenter
        context = client_context(self.leaf.current, roots)
        reader, writer = await asyncio.open_connection(instance.address, instance.port, ssl=context, server_hostname="")
        names = writer.get_extra_info("peercert").get("subjectAltName", ())  # its chain was verified in the handshake
        found = [name for kind, name in names if kind == "URI"]
        if found != [str(SpiffeId(trust_domain=roots.trust_domain.lower(), datacenter=datacenter, name=self.service))]:
            writer.transport.abort()
            raise ValueError(f"another service answers: {', '.join(found)}")
        return reader, writer


@lru_cache(maxsize=1)
def client_context(leaf: Leaf, roots: Roots) -> ssl.SSLContext:
    """Mutual TLS with this certificate; made anew when it or the roots change."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # a certificate of the mesh names a service, not a host: `_dial` compares it
    context.load_verify_locations(cadata="\n".join(root.root_cert for root in roots.roots))
    with NamedTemporaryFile("w", suffix=".pem") as file:  # readable by its owner alone; ssl takes a key from files only
        file.write(f"{leaf.private_key_pem}\n{leaf.cert_pem}")
        file.flush()
        context.load_cert_chain(file.name)
    return context


@asynccontextmanager
async def dialler(consul: Consul, own: str, service: str) -> AsyncIterator[Dialler]:
    """A dialler of `service`, once all that it needs is there; NotReady where that takes too long."""
    async with (
        consul.health.connect(service, passing=True).watch() as instances,
        consul.agent.leaf(own).watch() as leaf,
        consul.agent.roots().watch() as roots,
    ):
        for ready in (instances.ready, leaf.ready, roots.ready):
            await ready(READY_TIMEOUT)
        yield Dialler(service, instances, leaf, roots)


async def main(own: str, service: str) -> None:
    """Connect once, and say to whom."""
    async with Consul() as consul, dialler(consul, own, service) as to_service:
        _, writer = await to_service.connect()
        print("connected to", *writer.get_extra_info("peername")[:2])
        writer.close()
        with suppress(OSError):  # the other side may be the first to close
            await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))

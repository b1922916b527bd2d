"""Surroundings of the intentions: the trust domain, the mesh entry and the issuers of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from aioconsulconnect.authorization.following import Following
from aioconsulconnect.authorization.rules.normalization import CONSULS_DEFAULT
from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.errors import InvalidRequest, Unsupported
from aioconsulconnect.structs.ca import Root, Roots
from aioconsulconnect.structs.config_entries.access import JWTProvider
from aioconsulconnect.structs.config_entries.defaults import Mesh, RequestNormalization
from aioconsulconnect.structs.intentions import Intention, JWTRequirement

T = TypeVar("T")
Item = TypeVar("Item")


class Surroundings:
    """
    The trust domain, the normalization of requests and the issuers of tokens, followed by watches.

    - `ca`, `config`: endpoints of the client.
    - `tell`: function that is called when something may be different.
    - `clock`: clock of the client.

    What cannot be watched is tried again: an agent may be upgraded, or a token be given more rights.
    """

    def __init__(self, ca: CA, config: Config, tell: Callable[[], None], clock: Clock) -> None:
        self._config = config
        self._tell = tell
        self._clock = clock
        self._roots: Following[Roots, Root] = Following(ca.roots(), tell, clock)
        self._mesh: Following[Mesh | None, Mesh] = Following(config.read("mesh"), tell, clock)
        self._providers: dict[str, Following[JWTProvider | None, JWTProvider]] = {}

    async def begin(self) -> None:
        """Enter the watches; Closed if the client is."""
        await self._roots.begin()
        await self._mesh.begin()

    def stop(self) -> None:
        """Stop all tasks, without waiting for their end."""
        self._roots.stop()
        self._mesh.stop()
        for one in self._providers.values():
            one.stop()

    async def end(self) -> None:
        """Leave the watches; it may be called in any state, and twice."""
        for one in (self._roots, self._mesh):
            await one.end()
        await self.follow(())

    async def follow(self, providers: Iterable[str]) -> None:
        """Follow the `jwt-provider` entries with these names, and no others."""
        wanted = set(providers)
        for name in self._providers.keys() - wanted:
            await self._providers.pop(name).end()
        for name in sorted(wanted - self._providers.keys()):
            one: Following[JWTProvider | None, JWTProvider]
            try:
                one = Following(self._config.read("jwt-provider", name), self._tell, self._clock)
            except InvalidRequest:
                continue  # Consul takes names that no URL can hold; the issuer then stays unknown, and denies
            await one.begin()
            self._providers[name] = one

    @property
    def trust_domain(self) -> str:
        """The own trust domain; empty where it is not known."""
        found = self._roots.newest
        return found.value.trust_domain if found else ""

    @property
    def normalization(self) -> RequestNormalization | None:
        """
        The normalization of requests; None where it is not known.

        Without an entry it is Consul's default, also on a Consul that has no entries of this kind.
        """
        found = self._mesh.newest
        if found is None:
            return CONSULS_DEFAULT if isinstance(self._mesh.error, Unsupported) else None
        http = None if found.value is None else found.value.http
        incoming = None if http is None else http.incoming
        if incoming is not None and incoming.unknown:  # it may be about paths or headers too
            return RequestNormalization(unknown=incoming.unknown)
        return (None if incoming is None else incoming.request_normalization) or CONSULS_DEFAULT

    @property
    def issuers(self) -> dict[str, str]:
        """The issuer of each provider whose entry is known."""
        found: dict[str, str] = {}
        for name, one in self._providers.items():
            newest = one.newest
            if newest is not None and newest.value is not None:
                found[name] = newest.value.issuer
        return found

    @property
    def is_settled(self) -> bool:
        """True once each of them was answered, or will never be."""
        return not self.missing

    @property
    def interruptions(self) -> int:
        """The number of times that roots and mesh entry were read anew after a failure."""
        return self._roots.interruptions + self._mesh.interruptions

    @property
    def missing(self) -> str:
        """The first of them without an answer, and the reason; empty if nothing is missing."""
        return next(iter(self._words(_missing)), "")

    @property
    def troubles(self) -> list[str]:
        """Words for each of them that is not known, or cannot be asked for at the moment."""
        return self._words(_trouble)

    def _words(self, of: _Words) -> list[str]:
        words = [of("the trust domain", self._roots)]
        if not isinstance(self._mesh.error, Unsupported):
            words.append(of("the mesh entry", self._mesh))
        words += [of(f"the jwt-provider {name!r}", one) for name, one in self._providers.items()]
        return [one for one in words if one]


def providers_of(intentions: Iterable[Intention]) -> Iterator[str]:
    """Return the names of the `jwt-provider` entries that `intentions` name."""
    for intention in intentions:
        yield from _named(intention.jwt)
        for permission in intention.permissions:
            yield from _named(permission.jwt)


def _named(jwt: JWTRequirement | None) -> Iterator[str]:
    for provider in jwt.providers if jwt else ():
        yield provider.name


class _Words(Protocol):
    def __call__(self, what: str, one: Following[T, Item], /) -> str: ...


def _trouble(what: str, one: Following[T, Item]) -> str:
    error = one.watch.status.error if one.error is None else str(one.error)
    return f"{what}: {error}" if error else ""


def _missing(what: str, one: Following[T, Item]) -> str:
    if one.watch.newest is not None or one.error is not None:
        return ""
    status = one.watch.status
    return f"{what} is not known; its watch is {status.state}{status.error and ': '}{status.error}"

"""Options that every call takes beside its own arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from aioconsulconnect.errors import InvalidRequest

Purpose = Literal["calls", "polls", "probe"]
Consistency = Literal["default", "stale", "consistent"]
Option = Literal["datacenter", "namespace", "partition", "consistency", "cached"]

ALL_READ: frozenset[Option] = frozenset({"datacenter", "namespace", "partition", "consistency", "cached"})
UNCACHED_READ: frozenset[Option] = ALL_READ - {"cached"}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Options(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """
    Options of a call; what is None comes from the client's options, and last from Consul's defaults.

    - `datacenter`: datacenter to ask (`?dc`).
    - `namespace`: namespace (`?ns`, Consul Enterprise); a Community server refuses it, and 1.8 ignores it on reads.
    - `partition`: admin partition (`?partition`, Consul Enterprise 1.11).
    - `consistency`: "default" asks the leader, "stale" any server, "consistent" a leader that has just checked that it
      is one.
    - `cached`: answer from the agent's cache. It can be wrong for ten minutes after a snapshot restore, so never decide
      about access on it.
    - `token`: ACL token (SecretID) for this call alone.
    - `timeout`: seconds for one try; default 10.

    Raises InvalidRequest for values that Consul would refuse. An option that an endpoint would ignore raises
    InvalidRequest when it is given to that call; as an option of the client it is left out there.
    """

    datacenter: str | None = None
    namespace: str | None = None
    partition: str | None = None
    consistency: Consistency | None = None
    cached: bool | None = None
    token: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Raise InvalidRequest for values that can never work."""
        if self.consistency not in {None, "default", "stale", "consistent"}:
            raise InvalidRequest(f"consistency must be 'default', 'stale' or 'consistent', not {self.consistency!r}")
        if self.cached and self.consistency == "consistent":
            raise InvalidRequest(
                "cached and consistency='consistent' contradict each other; Consul refuses both at once"
            )
        for name in ("datacenter", "namespace", "partition", "token"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidRequest(f"{name} must be a text, not {type(value).__name__}")
        timeout: object = self.timeout
        if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
            raise InvalidRequest(f"timeout must be a number of seconds above 0, not {self.timeout!r}")
        if self.token is not None:
            check_token(self.token)

    def __repr__(self) -> str:
        """Show what is set, without the value of the token."""
        shown = (
            f"{name}={'***' if name == 'token' else repr(value)}"
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not None
        )
        return f"Options({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Return the fields for pretty printers, without the value of the token."""
        return [(name, "***" if name == "token" else value) for name, value in msgspec.structs.asdict(self).items()]

    def over(self, default: Options) -> Options:
        """Return these options, with those of `default` where nothing is set here."""
        if self == NO_OPTIONS:
            return default
        if default == NO_OPTIONS:
            return self
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return msgspec.structs.replace(default, **{name: value for name, value in pairs if value is not None})

    def refuse_ignored(self, accepted_options: frozenset[Option], method: str, path: str) -> None:
        """
        Raise InvalidRequest if one of these options is set that the endpoint would ignore.

        - `accepted_options`: names of the options that the endpoint takes.
        - `method`: HTTP method, for the error.
        - `path`: path, for the error.
        """
        for name in ("datacenter", "namespace", "partition", "consistency", "cached"):
            value = getattr(self, name)
            if name not in accepted_options and value is not None and value is not False and value != "default":
                raise InvalidRequest(
                    f"Consul ignores {name} here; leave it out of the options of this call", method=method, path=path
                )

    def parameters(self, accepted_options: frozenset[Option]) -> tuple[tuple[str, str], ...]:
        """
        Return the query parameters for an endpoint that takes `accepted_options`.

        A flag has an empty value.
        """
        if self == NO_OPTIONS:
            return ()
        found: list[tuple[str, str]] = []
        if self.datacenter and "datacenter" in accepted_options:
            found.append(("dc", self.datacenter))
        if self.namespace and "namespace" in accepted_options:
            found.append(("ns", self.namespace))
        if self.partition and "partition" in accepted_options:
            found.append(("partition", self.partition))
        if self.consistency in {"stale", "consistent"} and "consistency" in accepted_options:
            found.append((str(self.consistency), ""))
        if self.cached and "cached" in accepted_options:
            found.append(("cached", ""))
        return tuple(found)


NO_OPTIONS = Options()


def check_token(token: str) -> None:
    """Raise InvalidRequest for a `token` that no HTTP header can carry; its value is not in the error."""
    if _CONTROL.search(token) or not token.isascii():
        raise InvalidRequest(
            "the token has characters that no HTTP header can carry (line breaks, control or non-ASCII)"
        )


def refuse_unknown_keywords(function: str, given: Mapping[str, object], accepted: type) -> None:
    """
    Raise TypeError, as Python does, for an unknown keyword argument.

    - `function`: name of the function, for the error.
    - `given`: the keyword arguments.
    - `accepted`: TypedDict with the known ones.
    """
    for name in given:
        if name not in accepted.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")

"""The precedence of intentions, their order, and which of them decides."""

import base64
import hashlib
from collections.abc import Iterable

from aioconsulconnect.testing.go_json.values import Object, text


def precedence(source: tuple[str, str], destination: tuple[str, str]) -> int:
    """The precedence of an intention, from 1 to 9; the more exact its names, the higher.

    `source` and `destination` are pairs of namespace and name.
    """
    return 9 - 3 * _vagueness(destination) - _vagueness(source)


def _vagueness(side: tuple[str, str]) -> int:
    namespace, name = side
    return 0 if name != "*" else 1 if namespace != "*" else 2


def order(intention: Object) -> tuple[object, ...]:
    """The key that sorts intentions as Consul lists and evaluates them."""
    return (
        -int(str(intention["Precedence"])),
        text(intention, "SourceSamenessGroup"),
        text(intention, "SourcePeer"),
        text(intention, "SourceNS"),
        text(intention, "SourceName"),
        text(intention, "DestinationNS"),
        text(intention, "DestinationName"),
    )


def decides(intentions: Iterable[Object], side: str, name: str, namespace: str = "default") -> Object | None:
    """The first intention that applies to a service on one side; None where none does.

    Intentions with a peer as their source never do.

    - `intentions`: the candidates, in the order of their evaluation.
    - `side`: "Source" or "Destination".
    - `name`, `namespace`: the service; an intention with a wildcard applies too.
    """
    for intention in intentions:
        if text(intention, "SourcePeer"):
            continue
        if text(intention, f"{side}NS") in {namespace, "*"} and text(intention, f"{side}Name") in {name, "*"}:
            return intention
    return None


def digest(intention: Object) -> str:
    """The hash of an intention: base64 of 32 bytes."""
    parts = (str(intention.get(key, "")) for key in sorted(intention) if not key.endswith(("At", "Index", "Hash")))
    return base64.b64encode(hashlib.blake2b("\0".join(parts).encode(), digest_size=32).digest()).decode()

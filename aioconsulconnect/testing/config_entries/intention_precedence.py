"""Which intention counts: precedence, order, and the decision."""

import base64
import hashlib
from collections.abc import Iterable

from aioconsulconnect.testing.go_json.values import Object, text


def precedence(source: tuple[str, str], destination: tuple[str, str]) -> int:
    """The precedence of an intention between two (namespace, name) pairs."""
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
    """The first intention whose given side (Source or Destination) is this service; peered sources are nobody's."""
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

"""Names and ids as requests spell them."""

import re
from typing import NamedTuple

from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

_UUID_LENGTH = 36


class Name(NamedTuple):
    """A service as a query parameter names it, with its `namespace`, `partition` and `peer`."""

    name: str
    namespace: str = "default"
    partition: str = "default"
    peer: str = ""


def parse_name(written: str, label: str, facts: VersionFacts, *, peers: bool = False) -> Name:
    """Read `name`, `namespace/name`, `partition/namespace/name` or `peer:p/name`.

    `Refused` with status 500 where it has too many parts or is an unexpected or incomplete peer.

    - `written`: the value of the parameter.
    - `label`: the parameter's name, for the refusal.
    - `facts`: the version, which decides on the number of parts and on peers.
    - `peers`: true where a peer may be named; false by default.
    """
    invalid = f'{label} "{written}" is invalid: '
    peer, rest = "", written
    if facts.peers and written.startswith("peer:"):
        if not peers:
            raise Refused(500, invalid + "cannot specify a peer here")
        peer, slash, rest = written.removeprefix("peer:").partition("/")
        if not slash:
            raise Refused(500, invalid + "need to specify the service name as well")
    parts = rest.split("/")
    if len(parts) > facts.name_parts:
        most = {2: "one", 3: "two"}[facts.name_parts]
        raise Refused(500, invalid + f"input can contain at most {most} '/'")
    name, namespace, partition = [*reversed(parts), "default", "default"][:3]
    if facts.intentions_are_entries:
        namespace = namespace or "default"
    return Name(name, namespace, partition or "default", peer)


def check_uuid(identifier: str, lookup: str, *, whole: bool = False) -> None:
    """Refuse an `identifier` that cannot be a uuid, with status 500 and the text of the database.

    `lookup` is the text before it. With `whole` an id that is no full uuid is refused with `lookup` alone.
    """
    if whole and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", identifier):
        raise Refused(500, lookup, from_server=True)
    if len(identifier) != _UUID_LENGTH:
        raise Refused(500, f"{lookup}: index error: UUID must be 36 characters", from_server=True)
    if (hyphens := identifier.count("-")) > 4:  # noqa: PLR2004
        raise Refused(500, f'{lookup}: index error: UUID should have maximum of 4 "-"; got {hyphens}', from_server=True)
    if wrong := re.search(r"[^0-9a-fA-F-]", identifier):
        found = f"encoding/hex: invalid byte: U+{ord(wrong[0]):04X} '{wrong[0]}'"
        raise Refused(500, f"{lookup}: index error: Invalid UUID: {found}", from_server=True)

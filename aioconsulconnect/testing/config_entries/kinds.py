"""The kinds of configuration entries: their shapes, rights and versions, and how they are kept."""

import hashlib
from dataclasses import dataclass
from typing import Final

from aioconsulconnect.testing.config_entries.shapes import defaults, gateways, intentions, traffic
from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.version_facts import VersionFacts
from aioconsulconnect.testing.versions import OLDEST, spans


@dataclass(frozen=True, slots=True)
class EntryKind:
    """A kind of configuration entry: its shape, the rights that it takes, and the versions that know it.

    `since` and `until` are the first and the last version; `written_by_controller` refuses writes by clients.
    """

    name: str
    struct: Struct | None
    """The shape of an entry; None where Consul has the kind and the agent does not model it."""
    write: str
    """The resource of the right to write an entry: for the entry's name, unless it is the mesh."""
    read: str
    """The resource of the right to read an entry, likewise; empty where every token may."""
    since: str = OLDEST
    until: str = ""
    only_name: str = ""
    """The only name that entries of this kind have; empty for any name."""
    nameless: str = "serviceName is required"
    """The refusal of an entry without a name, in the words of the database."""
    written_by_controller: bool = False

    def on(self, resource: str, name: str) -> str:
        """The name in a right to `resource` for the entry `name`; empty if the resource is the mesh."""
        return "" if resource == "mesh" else name

    def shown(self, entry: Object) -> Object:
        """Copy an entry as it is shown: that of the kind mesh has no name."""
        return {key: value for key, value in entry.items() if key != "Name" or self.name != "mesh"}


KINDS: Final = (
    EntryKind("service-intentions", intentions.SERVICE_INTENTIONS, "intention", "intention", since="1.9"),
    EntryKind("service-defaults", defaults.SERVICE_DEFAULTS, "service", "service"),
    EntryKind("proxy-defaults", defaults.PROXY_DEFAULTS, "mesh", "", only_name="global"),
    EntryKind("service-resolver", traffic.SERVICE_RESOLVER, "service", "service"),
    EntryKind("service-router", traffic.SERVICE_ROUTER, "service", "service"),
    EntryKind("service-splitter", traffic.SERVICE_SPLITTER, "service", "service"),
    EntryKind(
        "ingress-gateway",
        gateways.INGRESS_GATEWAY,
        "mesh",
        "service",
        nameless="failed inserting config entry: object missing primary index",
    ),
    EntryKind("terminating-gateway", gateways.TERMINATING_GATEWAY, "mesh", "service"),
    EntryKind("mesh", traffic.MESH, "mesh", "", since="1.10", only_name="mesh"),
    EntryKind("exported-services", traffic.EXPORTED_SERVICES, "mesh", "mesh", since="1.14"),
    EntryKind("sameness-group", traffic.SAMENESS_GROUP, "mesh", "", since="1.16"),
    EntryKind("jwt-provider", defaults.JWT_PROVIDER, "mesh", "mesh", since="1.16"),
    EntryKind("api-gateway", gateways.API_GATEWAY, "mesh", "service", since="1.16"),
    EntryKind(
        "bound-api-gateway",
        gateways.BOUND_API_GATEWAY,
        "mesh",
        "service",
        since="1.16",
        written_by_controller=True,
    ),
    EntryKind("http-route", gateways.HTTP_ROUTE, "mesh", "mesh", since="1.16"),
    EntryKind("tcp-route", gateways.TCP_ROUTE, "mesh", "mesh", since="1.16"),
    EntryKind("inline-certificate", gateways.INLINE_CERTIFICATE, "mesh", "mesh", since="1.16"),
    EntryKind("file-system-certificate", gateways.INLINE_CERTIFICATE, "mesh", "mesh", since="1.20"),
)
COMPILED: Final = frozenset(
    {"service-defaults", "proxy-defaults", "service-resolver", "service-router", "service-splitter"}
)
"""The kinds that a discovery chain is compiled from."""


def find_kind(name: str, version: str) -> EntryKind | None:
    """The kind called `name`; None where `version` does not know it."""
    return next((kind for kind in KINDS if kind.name == name and spans(version, kind.since, kind.until)), None)


def stored_form(entry: Object, struct: Struct, facts: VersionFacts) -> Object:
    """Shape an entry as it is stored and shown, with the hash of its content where the version has it.

    - `entry`: the checked entry.
    - `struct`: the shape of its kind.
    - `facts`: the version.
    """
    shaped = shape({**entry, "Hash": None}, struct, facts.version)
    if not facts.entry_hash:
        return shaped
    content = repr({key: value for key, value in shaped.items() if not key.endswith("Index")})
    number = int.from_bytes(hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).digest())
    return shape({**shaped, "Hash": number}, struct, facts.version)

"""Intentions from 1.9 on: sources inside service-intentions entries, seen through the older API."""

import uuid
from collections.abc import Iterable
from typing import Final

from aioconsulconnect.testing.config_entries.intention_precedence import digest, order, precedence
from aioconsulconnect.testing.config_entries.intention_rules import entry_complaint, jwt_complaints, legacy_complaints
from aioconsulconnect.testing.config_entries.kinds import stored_form
from aioconsulconnect.testing.config_entries.shapes.intentions import SERVICE_INTENTIONS
from aioconsulconnect.testing.go_json.errors import errors
from aioconsulconnect.testing.go_json.scalars import now
from aioconsulconnect.testing.go_json.values import Object, child, children, text, texts
from aioconsulconnect.testing.protocol.names import check_uuid
from aioconsulconnect.testing.protocol.refusals import refused_by_server
from aioconsulconnect.testing.state.store import Key, Store, entry_key
from aioconsulconnect.testing.version_facts import VersionFacts

KIND: Final = "service-intentions"
_LEGACY: Final = ("LegacyID", "LegacyMeta", "LegacyCreateTime", "LegacyUpdateTime")
_HTTP: Final = frozenset({"http", "http2", "grpc"})


class EntryIntentionStore:
    """The intentions of an agent that keeps them in configuration entries."""

    def __init__(self, store: Store, facts: VersionFacts) -> None:
        self.store = store
        self.facts = facts

    # Reading.

    def index(self) -> int:
        """The index of the table, which all kinds of configuration entries share."""
        return self.store.touched("config")

    def all(self) -> list[Object]:
        """Every intention, in the order of evaluation."""
        return sorted((i for entry in self.store.of_kind(KIND) for i in intentions_of(entry)), key=order)

    def list_keys(self) -> tuple[Key, ...]:
        """The keys that wake a list: any intention; where there is none, other entries do too."""
        return (self.store.watch(f"config/{KIND}", below=True),)

    def to(self, name: str, namespace: str = "default") -> list[Object]:  # noqa: ARG002 - there is but one here
        """The intentions whose destination is the service `name` or the wildcard, in any `namespace`."""
        names = dict.fromkeys((name.lower(), "*"))
        entries = [entry for each in names if (entry := self.store.entry(KIND, each))]
        return sorted((i for entry in entries for i in intentions_of(entry)), key=order)

    def by(self, name: str, namespace: str = "default") -> list[Object]:  # noqa: ARG002 - there is but one here
        """The intentions whose source is the service `name` or the wildcard, in any `namespace`."""
        found: list[Object] = []
        for entry in self.store.of_kind(KIND):
            local = {text(source, "Name") for source in children(entry, "Sources") if not text(source, "Peer")}
            wanted = local & {name, "*"}
            found.extend(i for i in intentions_of(entry) if text(i, "SourceName") in wanted)
        return sorted(found, key=order)

    def match_keys(self, side: str, name: str) -> tuple[Key, ...]:
        """The keys whose writes wake a match of `name` on one `side`.

        For the source any intention does, for the destination its own entry and that of `*`.
        """
        if side == "source":
            return (f"config/{KIND}",)
        return tuple(self.store.watch(entry_key(KIND, each)) for each in (name, "*"))

    def get(self, identifier: str) -> Object | None:
        """The intention with a uuid; None where there is none, a refusal where it cannot be one."""
        check_uuid(identifier, self.facts.lookup_of_uuid)
        return next((i for i in self.all() if i.get("ID") == identifier), None)

    def exact(self, source: str, destination: str, peer: str = "") -> Object | None:
        """The intention from `source` to `destination`; None where there is none.

        With `peer` the source is that of a peer.
        """
        entry = self.store.entry(KIND, destination)
        wanted = (source, peer)
        found = (i for i in intentions_of(entry or {}) if (text(i, "SourceName"), text(i, "SourcePeer")) == wanted)
        return next(found, None)

    # Writing by name.

    def upsert(self, source: str, destination: str, intention: Object) -> None:
        """Create `intention` from `source` to `destination`, or replace the source of that name.

        A source of that name that belongs to a peer is replaced too.
        """
        entry = self.store.entry(KIND, destination)
        meta = child(intention, "Meta")
        if meta and entry is None:
            raise refused_by_server("Meta must not be specified")
        if meta and entry is not None and meta != child(entry, "Meta"):
            raise refused_by_server("Meta must not be specified, or should be unchanged during an update.")
        new = _source(source, intention)
        sources = children(entry or {}, "Sources")
        at = next((at for at, each in enumerate(sources) if each["Name"] == source), len(sources))
        changed = {**(entry or {"Name": destination}), "Sources": [*sources[:at], new, *sources[at + 1 :]]}
        self.store.put_entry(self.checked(changed))

    def remove(self, source: str, destination: str) -> None:
        """Delete the first source called `source` from the entry of `destination`.

        The last one takes its entry with it.
        """
        entry = self.store.entry(KIND, destination)
        sources = children(entry or {}, "Sources")
        at = next((at for at, each in enumerate(sources) if each["Name"] == source), None)
        if entry is not None and at is not None:
            self._keep(entry, [*sources[:at], *sources[at + 1 :]], legacy=False)

    def _keep(self, entry: Object, sources: list[Object], *, legacy: bool) -> None:
        if sources:
            self.store.put_entry(self.checked({**entry, "Sources": sources}, legacy=legacy))
        else:
            self.store.delete_entry(KIND, text(entry, "Name"))

    # Writing by uuid.

    def create(self, intention: Object) -> str:
        """Add an intention, and return the uuid that it got."""
        moment = now()
        identifier = str(uuid.uuid4())
        self._check_legacy(intention)
        destination = text(intention, "DestinationName")
        entry = self.store.entry(KIND, destination)
        sources = children(entry or {}, "Sources")
        if any("LegacyID" not in source for source in sources):
            raise refused_by_server(
                "cannot use legacy intention API to edit intentions with a destination of "
                f'"{text(entry or {}, "Name")}" after editing them via a service-intentions config entry'
            )
        new = _legacy_source(intention, identifier, moment, moment)
        changed = {**(entry or {"Name": destination}), "Sources": [*sources, new]}
        self.store.put_entry(self.checked(changed, legacy=True))
        return identifier

    def update(self, before: Object, intention: Object) -> None:
        """Replace the intention `before` by `intention`; another destination is refused."""
        check_datacenter, there = text(before, "DestinationName"), text(intention, "DestinationName")
        if check_datacenter.lower() != there.lower():
            raise refused_by_server(self.facts.cannot_move_text)
        for side in ("Source", "Destination"):
            if (namespace := text(intention, f"{side}NS")).lower() not in {"", "default"}:
                label = f'{side.lower()} namespace "{namespace}"'
                raise refused_by_server(f"Invalid {label}: Namespaces is a Consul Enterprise feature")
        self._check_legacy(intention)
        identifier = text(before, "ID")
        entry = self.store.entry(KIND, check_datacenter) or {}
        new = _legacy_source(intention, identifier, text(before, "CreatedAt"), now())
        sources = [new if each.get("LegacyID") == identifier else each for each in children(entry, "Sources")]
        self._keep(entry, sources, legacy=True)

    def delete(self, intention: Object) -> None:
        """Delete an intention that has a uuid."""
        entry = self.store.entry(KIND, text(intention, "DestinationName")) or {}
        rest = [each for each in children(entry, "Sources") if each.get("LegacyID") != intention["ID"]]
        self._keep(entry, rest, legacy=True)

    @staticmethod
    def _check_legacy(intention: Object) -> None:
        if complaints := list(legacy_complaints(intention)):
            raise refused_by_server(errors(complaints))

    # Checks of every write.

    def checked(self, entry: Object, *, legacy: bool = False, alone: bool = False) -> Object:
        """Bring `entry` into the form in which it is stored, or refuse it.

        - `legacy`: true for a write by the API by uuid.
        - `alone`: true to leave to `check_among_others` what depends on other entries.
        """
        normal = normalised(entry, legacy=legacy)
        if complaint := entry_complaint(normal, self.facts, legacy=legacy):
            raise refused_by_server(complaint)
        if not alone:
            self.check_among_others(normal)
        return stored_form({**normal, "Kind": KIND}, SERVICE_INTENTIONS, self.facts)

    def check_among_others(self, entry: Object) -> None:
        """Refuse an `entry` that other entries do not fit: the providers of its tokens, and protocols."""
        if complaints := [*jwt_complaints(entry, self._providers())]:
            raise refused_by_server(errors(complaints))
        self.check_protocols([entry])

    def _providers(self) -> frozenset[str]:
        return frozenset(text(entry, "Name").lower() for entry in self.store.of_kind("jwt-provider"))

    def check_protocols(self, entries: Iterable[Object], proposed: Object | None = None, gone: str = "") -> None:
        """Refuse permissions for a destination whose protocol is not HTTP.

        - `entries`: the service-intentions entries to check.
        - `proposed`: an entry that is about to be written, taken as written.
        - `gone`: the key of an entry that is about to be deleted, taken as deleted.
        """
        for entry in entries:
            name = text(entry, "Name")
            if any(source.get("Permissions") for source in children(entry, "Sources")):
                protocol = self._protocol(name, proposed, gone)
                if protocol not in _HTTP:
                    raise refused_by_server(
                        f'service "{name}" has protocol "{protocol}", '
                        "which is incompatible with L7 intentions permissions"
                    )

    def _protocol(self, name: str, proposed: Object | None, gone: str) -> str:
        def current(kind: str, of: str) -> Object:
            if proposed and (proposed["Kind"], str(proposed["Name"]).lower()) == (kind, of.lower()):
                return proposed
            return {} if gone == entry_key(kind, of) else self.store.entry(kind, of) or {}

        own = text(current("service-defaults", name), "Protocol")
        return own or text(child(current("proxy-defaults", "global"), "Config"), "protocol") or "tcp"


def intentions_of(entry: Object) -> list[Object]:
    """The sources of an entry as intentions."""
    return [_intention(entry, source) for source in children(entry, "Sources")]


def _intention(entry: Object, source: Object) -> Object:
    legacy = "LegacyID" in source
    intention: Object = {
        "CreatedAt": source.get("LegacyCreateTime"),
        "UpdatedAt": source.get("LegacyUpdateTime"),
        "ID": source.get("LegacyID"),
        "Description": source.get("Description"),
        "SourceNS": "default",
        "SourceName": source["Name"],
        "DestinationNS": "default",
        "DestinationName": entry["Name"],
        "SourcePeer": source.get("Peer"),
        "SourceType": source["Type"],
        "Action": source.get("Action"),
        "Permissions": source.get("Permissions"),
        "JWT": entry.get("JWT"),
        "Meta": source.get("LegacyMeta") if legacy else entry.get("Meta"),
        "Precedence": source["Precedence"],
    }
    kept = {key: value for key, value in intention.items() if value or (key == "JWT" and value is not None)}
    if legacy:
        kept["Hash"] = digest(kept)
    kept["CreateIndex"], kept["ModifyIndex"] = entry.get("CreateIndex", 0), entry.get("ModifyIndex", 0)
    return kept


def _source(name: str, intention: Object) -> Object:
    """The source in an entry that an intention given by name becomes."""
    return {
        "Name": name,
        "Action": intention.get("Action", ""),
        "Permissions": intention.get("Permissions"),
        "Type": intention.get("SourceType", ""),
        "Description": intention.get("Description", ""),
        "SamenessGroup": intention.get("SourceSamenessGroup", ""),
    }


def _legacy_source(intention: Object, identifier: str, created: str, updated: str) -> Object:
    return {
        **_source(text(intention, "SourceName"), intention),
        "LegacyID": identifier,
        "LegacyMeta": intention.get("Meta"),
        "LegacyCreateTime": created,
        "LegacyUpdateTime": updated,
    }


def normalised(entry: Object, *, legacy: bool = False) -> Object:
    """Rewrite `entry` as the server does before it checks it: defaults, upper-case methods, order.

    `legacy` is true for a write by the API by uuid, which keeps the legacy members of sources.
    """
    name = text(entry, "Name")
    sources: list[Object] = []
    for source in children(entry, "Sources"):
        dropped = () if legacy else [key for key in _LEGACY if key != "LegacyMeta"]
        normal = {key: value for key, value in source.items() if key not in dropped}
        normal["Type"] = text(source, "Type") or "consul"
        normal["Precedence"] = precedence(("default", text(source, "Name")), ("default", name))
        if source.get("Permissions"):
            normal["Permissions"] = [_upper(permission) for permission in children(source, "Permissions")]
        sources.append(normal)
    sources.sort(key=lambda source: -int(str(source["Precedence"])))
    return {**entry, "Sources": sources}


def _upper(permission: Object) -> Object:
    http = child(permission, "HTTP")
    if not http.get("Methods"):
        return permission
    methods = [method.upper() for method in texts(http, "Methods")]
    return {**permission, "HTTP": {**http, "Methods": methods}}

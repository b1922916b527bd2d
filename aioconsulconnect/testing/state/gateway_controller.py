"""The controller of API gateways: it binds routes to listeners, and writes what became of them."""

from collections.abc import Iterator
from typing import Final

from aioconsulconnect.testing.config_entries.discovery_chain import Compiler, GraphError
from aioconsulconnect.testing.config_entries.kinds import COMPILED, find_kind, stored_form
from aioconsulconnect.testing.go_json.scalars import now
from aioconsulconnect.testing.go_json.values import Object, child, children, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.version_facts import VersionFacts

ROUTES: Final = ("http-route", "tcp-route")
BOUND: Final = "bound-api-gateway"
_WATCHED: Final = frozenset({"api-gateway", "inline-certificate", *ROUTES, *COMPILED})
_PROTOCOLS: Final = {"http-route": "http", "tcp-route": "tcp"}
_ONE: Final = "TCP-based listeners currently only support binding a single route"


class Controller:
    """The controller of one agent's API gateways, called when an entry changes.

    What it writes raises the index of an entry once more.
    """

    def __init__(self, store: Store, facts: VersionFacts) -> None:
        self.store = store
        self.facts = facts
        self._works = False
        store.listeners.append(self.entry_changed)

    def entry_changed(self, kind: str, name: str) -> None:
        """Judge gateways and routes anew after the entry of this `kind` and `name` was written or deleted."""
        if self._works or kind not in _WATCHED:
            return
        self._works = True
        try:
            if kind == "api-gateway" and not self.store.entry(kind, name) and self.store.entry(BOUND, name):
                self.store.delete_entry(BOUND, name)
            self._reconcile(_reference(kind, name))
        finally:
            self._works = False

    def _reconcile(self, written: Object) -> None:
        """Judge everything anew; of a gateway that was `written` the listeners begin without routes."""
        bound: dict[tuple[str, str], list[Object]] = {}
        routes = [route for kind in ROUTES for route in self.store.of_kind(kind)]
        judged = [(route, [*self._judge_route(route, bound)]) for route in routes]
        for gateway in self.store.of_kind("api-gateway"):
            self._write_status(gateway, [*self._judge_gateway(gateway, bound)])
            self._write_bound(gateway, bound, written)
        for route, conditions in judged:
            self._write_status(route, conditions)

    # Judging.

    def _judge_gateway(self, gateway: Object, bound: dict[tuple[str, str], list[Object]]) -> Iterator[Object]:
        name = text(gateway, "Name")
        if self._lacks_certificates(gateway):
            yield _condition("Accepted", "False", "InvalidCertificates", "gateway references invalid certificates")
        else:
            yield _condition("Accepted", "True", "Accepted", "gateway is valid")
        for listener in children(gateway, "Listeners"):
            where = ("api-gateway", name, text(listener, "Name"))
            several = text(listener, "Protocol") == "tcp" and len(bound.get(where[1:], ())) > 1
            if several:
                yield _condition("Conflicted", "True", "RouteConflict", _ONE, where)
            else:
                yield _condition("Conflicted", "False", "NoConflict", "listener has no route conflicts", where)
            if lacking := self._lacking(listener):
                words = f'certificate "{lacking[0]}" not found'
                yield _condition("ResolvedRefs", "False", "InvalidCertificateRef", words, where)
            else:
                yield _condition("ResolvedRefs", "True", "ResolvedRefs", "resolved refs", where)

    def _lacking(self, listener: Object) -> list[str]:
        given = children(child(listener, "TLS"), "Certificates")
        return [name for each in given if not self.store.entry(text(each, "Kind"), name := text(each, "Name"))]

    def _lacks_certificates(self, gateway: Object) -> bool:
        return any(self._lacking(listener) for listener in children(gateway, "Listeners"))

    def _judge_route(self, route: Object, bound: dict[tuple[str, str], list[Object]]) -> Iterator[Object]:
        """The conditions of a route; the listeners that take it are noted in `bound`."""
        reason, words = self._acceptance(route)
        yield _condition("Accepted", str(reason == "Accepted"), reason, words)
        for parent in children(route, "Parents"):
            where = (text(parent, "Kind"), text(parent, "Name"), text(parent, "SectionName"))
            gateway = self.store.entry("api-gateway", where[1])
            if gateway is None:
                yield _condition("Bound", "False", "GatewayNotFound", "gateway was not found", where)
            elif failure := self._bind(route, gateway, where[2], bound, accepted=reason == "Accepted"):
                yield _condition("Bound", "False", "FailedToBind", failure, where)
            else:
                yield _condition("Bound", "True", "Bound", "successfully bound route", where)

    def _acceptance(self, route: Object) -> tuple[str, str]:
        names = services_of(route)
        if not names:
            return "NoUpstreamServicesTargeted", "route must target at least one upstream service"
        for name in names:
            if not name:
                return "InvalidDiscoveryChain", "serviceName is required"
            try:
                chain = Compiler(self.store.entry, self.facts, "dc1", "dc1", "").compile(name)
            except GraphError as error:
                return "InvalidDiscoveryChain", str(error)
            if text(chain, "Protocol") != _PROTOCOLS[text(route, "Kind")]:
                return "InvalidDiscoveryChain", "route protocol does not match targeted service protocol"
        return "Accepted", "route is valid"

    def _bind(
        self,
        route: Object,
        gateway: Object,
        section: str,
        bound: dict[tuple[str, str], list[Object]],
        *,
        accepted: bool,
    ) -> str:
        """Bind a route to the listeners of a gateway; the complaint where that fails."""
        name, failure, taken = text(gateway, "Name"), "", False
        for listener in children(gateway, "Listeners"):
            if section not in {"", text(listener, "Name")}:
                continue
            if self._lacks_certificates(gateway):
                failure = "gateway has not been accepted"
            elif not accepted:
                failure = "route has not been accepted"
            elif text(listener, "Protocol") != (wanted := _PROTOCOLS[text(route, "Kind")]):
                if section:
                    words = f"listener {section} is not a {wanted} listener"
                    return f"failed to bind route {text(route, 'Name')} to gateway {name}: {words}"
            elif not _hosts_fit(text(listener, "Hostname"), texts(route, "Hostnames")):
                failure = f"listener {text(listener, 'Name')} is does not have any hostnames that match the route"
            else:
                taken = True
                takers = bound.setdefault((name, text(listener, "Name")), [])
                takers.extend([route] * (route not in takers))
        if failure:
            return f"failed to bind route to gateway {name}: {failure}"
        return (
            "" if taken else f"failed to bind route {text(route, 'Name')} to gateway {name} with listener '{section}'"
        )

    # Writing.

    def _write_status(self, entry: Object, conditions: list[Object]) -> None:
        """Write the status of a gateway or a route, if it has changed."""
        conditions.sort(key=lambda each: (str(each["Type"]), [*child(each, "Resource").values()]))
        known = children(child(entry, "Status"), "Conditions")
        if [_judgement(each) for each in known] != [_judgement(each) for each in conditions]:
            self._write({**entry, "Status": {"Conditions": conditions}})

    def _write_bound(self, gateway: Object, bound: dict[tuple[str, str], list[Object]], written: Object) -> None:
        """Write what is bound to a gateway, if it has changed.

        As with Consul, a service stays listed when a route no longer leads to it, until that route is deleted.
        """
        name = text(gateway, "Name")
        before = self.store.entry(BOUND, name)
        fresh = written == _reference("api-gateway", name)
        known = {text(each, "Name"): each for each in children(before or {}, "Listeners") if not fresh}
        services = {key: [*children(child(before or {}, "Services"), key)] for key in child(before or {}, "Services")}
        listeners: list[object] = []
        for listener in children(gateway, "Listeners"):
            routes = bound.get((name, text(listener, "Name")), [])
            wanted = [_reference(text(route, "Kind"), text(route, "Name")) for route in routes]
            old = children(known.get(text(listener, "Name"), {}), "Routes")
            for gone in (each for each in old if not self.store.entry(text(each, "Kind"), text(each, "Name"))):
                services = {key: left for key, refs in services.items() if (left := [r for r in refs if r != gone])}
            for route, reference in zip(routes, wanted, strict=True):
                for service in services_of(route):
                    listed = [each for each in services.get(service, []) if each not in (reference, written)]
                    services[service] = (
                        [*listed, reference]
                        if reference not in services.get(service, []) or reference == written
                        else services[service]
                    )
            old = [each for each in old if each in wanted and each != written]  # What is written binds anew.
            kept = [*old, *(each for each in wanted if each not in old)]
            ever = known.get(text(listener, "Name"), {}).get("Routes") is not None
            given = children(child(listener, "TLS"), "Certificates")
            held = [] if self._lacking(listener) else given
            listeners.append(
                {"Name": text(listener, "Name"), "Routes": kept if kept or ever else None, "Certificates": held or None}
            )
        entry: Object = {"Kind": BOUND, "Name": name, "Listeners": listeners, "Services": dict(services)}
        if before is None or any(before[member] != entry[member] for member in ("Listeners", "Services")):
            self._write(entry)

    def _write(self, entry: Object) -> None:
        found = find_kind(text(entry, "Kind"), self.facts.version)
        if found and found.struct:
            self.store.put_entry(stored_form(entry, found.struct, self.facts))


def check_certificates(entry: Object) -> None:
    """Refuse with 501 a gateway `entry` with certificates that Consul's controller does not follow."""
    for listener in children(entry, "Listeners"):
        for certificate in children(child(listener, "TLS"), "Certificates"):
            if text(certificate, "Kind") == "file-system-certificate":
                raise Refused(501, "The in-process agent does not model gateways with certificates of the file system")


def services_of(route: Object) -> list[str]:
    """The names of the services that a `route` leads to."""
    return [text(each, "Name") for part in (route, *children(route, "Rules")) for each in children(part, "Services")]


def _hosts_fit(listener: str, hosts: list[str]) -> bool:
    if not listener or not hosts:
        return True
    return any(host == listener or (listener[:1] == "*" and host.endswith(listener[1:])) for host in hosts)


def _reference(kind: str, name: str, section: str = "") -> Object:
    return {"Kind": kind, "Name": name, "SectionName": section}


def _condition(
    kind: str, status: str, reason: str, message: str, resource: tuple[str, str, str] = ("", "", "")
) -> Object:
    return {
        "Type": kind,
        "Status": status,
        "Reason": reason,
        "Message": message,
        "Resource": _reference(*resource),
        "LastTransitionTime": now(),
    }


def _judgement(condition: Object) -> Object:
    return {key: value for key, value in condition.items() if key != "LastTransitionTime"}

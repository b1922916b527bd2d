"""The controller of API gateways, which writes the status of gateways and routes after each write."""

from typing import Final

from aioconsulconnect.testing.config_entries.kinds import find_kind
from aioconsulconnect.testing.config_entries.stored_form import stored_form
from aioconsulconnect.testing.go_json.scalars import now
from aioconsulconnect.testing.go_json.values import Object, child, children, text
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.versions import VersionFacts

ROUTES: Final = ("http-route", "tcp-route")


class Controller:
    """The controller of one agent's API gateways, called when an entry changes.

    The status that it writes raises the index of the entry once more.
    """

    def __init__(self, store: Store, facts: VersionFacts) -> None:
        self.store = store
        self.facts = facts
        store.listeners.append(self.entry_changed)

    def entry_changed(self, kind: str, name: str) -> None:
        """Write the status of the gateway or route of this `kind` and `name`, if it has changed."""
        entry = self.store.entry(kind, name)
        if entry is None or kind not in {"api-gateway", *ROUTES}:
            return
        conditions = gateway_conditions(entry) if kind == "api-gateway" else route_conditions(entry)
        known = children(child(entry, "Status"), "Conditions")
        if [_judgement(each) for each in known] == [_judgement(each) for each in conditions]:
            return
        found = find_kind(kind, self.facts.version)
        if found and found.struct:
            judged: Object = {**entry, "Status": {"Conditions": conditions}}
            self.store.put_entry(stored_form(judged, found.struct, self.facts))


def check_bindings(entry: Object, store: Store) -> None:
    """Refuse with 501 an `entry` of a gateway or a route whose status is not modelled.

    `store` has the gateways that a route needs.
    """
    for listener in children(entry, "Listeners"):
        if children(child(listener, "TLS"), "Certificates"):
            raise Refused(501, "The in-process agent does not model the certificates of API gateways")
    for parent in children(entry, "Parents"):
        if store.entry("api-gateway", text(parent, "Name")) is None:
            raise Refused(501, "The in-process agent does not model routes without their API gateway")


def gateway_conditions(gateway: Object) -> list[Object]:
    """The status conditions of a valid gateway."""
    return [
        _condition("Accepted", "True", "Accepted", "gateway is valid"),
        *(
            _condition(kind, status, reason, message, ("api-gateway", text(gateway, "Name"), text(listener, "Name")))
            for kind, status, reason, message in (
                ("Conflicted", "False", "NoConflict", "listener has no route conflicts"),
                ("ResolvedRefs", "True", "ResolvedRefs", "resolved refs"),
            )
            for listener in children(gateway, "Listeners")
        ),
    ]


def route_conditions(route: Object) -> list[Object]:
    """The status conditions of a valid route whose gateways exist."""
    return [
        _condition("Accepted", "True", "Accepted", "route is valid"),
        *(
            _condition(
                "Bound",
                "True",
                "Bound",
                "successfully bound route",
                (text(parent, "Kind"), text(parent, "Name"), text(parent, "SectionName")),
            )
            for parent in children(route, "Parents")
        ),
    ]


def _condition(
    kind: str, status: str, reason: str, message: str, resource: tuple[str, str, str] = ("", "", "")
) -> Object:
    of, name, section = resource
    return {
        "Type": kind,
        "Status": status,
        "Reason": reason,
        "Message": message,
        "Resource": {"Kind": of, "Name": name, "SectionName": section},
        "LastTransitionTime": now(),
    }


def _judgement(condition: Object) -> Object:
    return {key: value for key, value in condition.items() if key != "LastTransitionTime"}

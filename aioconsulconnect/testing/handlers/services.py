"""/v1/agent/service and /v1/agent/check: registration, and what the agent has of its services."""

import asyncio
import random
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError, errors
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import Field, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, child, is_object, text
from aioconsulconnect.testing.handlers.context import Box
from aioconsulconnect.testing.handlers.registration_rules import (
    STATUSES,
    NoPortLeftError,
    check_complaint,
    check_definitions,
    complaints,
    filled,
    is_script,
    meta_complaint,
    sidecar_of,
    weights_complaint,
)
from aioconsulconnect.testing.handlers.service_shapes import AGENT_SERVICE, CHECK, SERVICE_DEFINITION
from aioconsulconnect.testing.handlers.service_view import ServiceView, checks_of
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Reply, empty
from aioconsulconnect.testing.protocol.request import Ask
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.checks import Check
from aioconsulconnect.testing.state.registry import Instance, Registry

_UPDATE: Final = Struct((Field("Status"), Field("Output")))
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 - refused, not listened on
_NO_REASON: Final = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)


class Services:
    """The handlers of one agent."""

    def __init__(self, box: Box, registry: Registry) -> None:
        self.box = box
        self.registry = registry
        self.view: ServiceView = ServiceView(box, registry)

    # Registering.

    async def register(self, ask: Ask) -> Reply:
        """Register a service and its sidecar."""
        ask.enterprise_options()
        definition = self._definition(ask)
        checks = check_definitions(definition)
        self._check_checks(checks, "Invalid check: ")
        service = filled({**definition, "Tags": definition.get("Tags") or []})
        sidecar = self._sidecar(service)
        who = self.box.acl.resolve(ask.token)
        for each in [service, *([sidecar] if sidecar else [])]:
            self._may_register(who, each)
        _refuse_scripts(checks)
        replace = "replace-existing-checks" in ask.query and ask.first("replace-existing-checks") not in FALSE
        instance = self.registry.register(_kept(service), checks, replace=replace)
        if sidecar is not None:
            given = check_definitions(sidecar)
            _refuse_scripts(given)
            self.registry.register(_kept(sidecar), given, replace=replace, parent=instance.identifier)
        return empty(self.box.quirks)

    def _definition(self, ask: Ask) -> Object:
        quirks = self.box.quirks
        try:
            definition = decode(_json(ask), SERVICE_DEFINITION, quirks.version, "")
        except DecodeError as error:
            raise Refused(400, f"Request decode failed: {error}") from error
        if not text(definition, "Name"):
            raise Refused(400, "Missing service name")
        if text(definition, "Address") in _ANY_ADDRESS:
            raise Refused(400, "Invalid service address")
        if wrong := weights_complaint(definition) or meta_complaint(definition):
            raise Refused(400, wrong)
        if found := list(complaints(definition, quirks)):
            raise Refused(400, quirks.registration_prefix + errors(found))
        return definition

    def _check_checks(self, checks: list[Object], prefix: str, status: int = 400) -> None:
        for check in checks:
            if wrong := check_complaint(check, self.box.quirks):
                raise Refused(status, prefix + wrong)
            if text(check, "Status") not in {"", *STATUSES}:
                words = self.box.quirks.bad_request_prefix if status != 400 else ""  # noqa: PLR2004 - in a sidecar
                raise Refused(status, f"{words}Status for checks must 'passing', 'warning', 'critical'")

    def _sidecar(self, service: Object) -> Object | None:
        given = child(service, "Connect").get("SidecarService")
        if is_object(given):
            quirks = self.box.quirks
            words = quirks.bad_request_prefix + "Invalid check in sidecar_service: "
            self._check_checks(check_definitions(given), words, quirks.sidecar_check_status)
        known = self.registry.get(f"{service['ID']}-sidecar-proxy")
        try:
            return sidecar_of(service, self.registry.ports(), known.definition if known else None)
        except NoPortLeftError as error:
            status = self.box.quirks.ports_run_out_status
            raise Refused(status, ("Invalid SidecarService: " if status == 400 else "") + str(error)) from error  # noqa: PLR2004

    def _may_register(self, who: Authorizer, service: Object) -> None:
        known = self.registry.get(text(service, "ID"))
        names = [text(service, "Name"), *([known.name] if known else [])]
        destination = text(child(service, "Proxy"), "DestinationServiceName")
        for name in [*names, *([destination] if destination else [])]:
            self._may_write(who, name)

    def _may_write(self, who: Authorizer, name: str) -> None:
        if who.may("service", "write", name):
            return
        if self.box.quirks.permission_reasons:
            raise self.box.acl.denied(who, "service:write", name)
        raise Refused(403, f"Permission denied: Missing service:write on {name}")

    async def deregister(self, ask: Ask) -> Reply:
        """Remove a service with its checks and its sidecar."""
        ask.enterprise_options()
        box, quirks = self.box, self.box.quirks
        who = box.acl.resolve(ask.token)
        instance = self.registry.get(ask.rest)
        if instance is None:
            self._refuse_unknown(ask.rest)
            return empty(quirks)
        self._may_write(who, instance.name)
        self.registry.deregister(instance)
        return empty(quirks)

    def _refuse_unknown(self, identifier: str) -> None:
        """Refuse a service that is not there; the older versions do so only where ACLs make them look for it."""
        quirks = self.box.quirks
        if quirks.unknown_service_is_missing:
            raise Refused(404, quirks.unknown_service_text.format(identifier))
        if self.box.acl.enabled:
            raise Refused(500, quirks.unknown_service_text.format(identifier))
        if not identifier:
            raise Refused(500, "ServiceID missing")

    async def maintenance(self, ask: Ask) -> Reply:
        """Put a service into maintenance or take it out."""
        if not ask.rest:
            raise Refused(400, "Missing service ID")
        if "enable" not in ask.query:
            raise Refused(400, "Missing value for enable")
        if ask.first("enable") not in TRUE | FALSE:
            raise Refused(400, f'Invalid value for enable: "{ask.first("enable")}"')
        ask.enterprise_options()
        who = self.box.acl.resolve(ask.token)
        instance = self.registry.get(ask.rest)
        if instance is None:
            self._refuse_unknown(ask.rest)
            raise Refused(404, f'No service registered with ID "{ask.rest}"')
        self._may_write(who, instance.name)
        self.registry.set_maintenance(instance, ask.first("reason") or _NO_REASON, on=ask.first("enable") in TRUE)
        return empty(self.box.quirks)

    # Reading.

    async def service(self, ask: Ask) -> Reply:
        """One service; waits while it has the hash that is asked with."""
        ask.enterprise_options()
        ask.read_options()
        box = self.box
        hurry = asyncio.get_running_loop().time() + ask.wait + random.uniform(0, ask.wait / 16)
        with box.polling(ask, waits=bool(ask.first("hash"))):
            while True:
                who = box.acl.resolve(ask.token)
                instance = self.registry.get(ask.rest)
                if instance is None:
                    raise Refused(404, f"unknown service ID: {ask.rest}")
                box.acl.require(who, "service", "read", instance.name)
                service = self.view.agent_service(instance)
                content = self.view.content_hash(service)
                if content != ask.first("hash") or not await box.store.wait([f"agent/{ask.rest}"], hurry):
                    break
        return Reply(self.view.with_hash(service, content), headers=(("X-Consul-Contenthash", content),))

    async def services(self, ask: Ask) -> Reply:
        """All services of the agent that the token may see."""
        ask.enterprise_options()
        shown = {each.identifier: self.view.agent_service(each) for each in self.registry.all()}
        names = {each.identifier: each.name for each in self.registry.all()}
        return self._visible(ask, shown, names, AGENT_SERVICE)

    async def checks(self, ask: Ask) -> Reply:
        """All checks of the agent that the token may see."""
        ask.enterprise_options()
        pairs = [(each, check) for each in self.registry.all() for check in checks_of(each)]
        pairs.sort(key=lambda pair: pair[1].identifier)
        shown = {check.identifier: self.view.check(check, each, shown=False) for each, check in pairs}
        return self._visible(ask, shown, {check.identifier: each.name for each, check in pairs}, CHECK)

    def _visible(self, ask: Ask, shown: dict[str, Object], names: dict[str, str], shape: Struct) -> Reply:
        box, expression = self.box, ask.first("filter")
        who = box.acl.resolve(ask.token)
        keep = compile_filter(expression, box.quirks.version, shape, of_agent=True) if expression else None
        readable = {key for key, name in names.items() if who.may("service", "read", name)}
        chosen = {key for key, value in shown.items() if keep is None or keep(value)}
        considered = set(shown) if box.quirks.rights_before_filter else chosen
        hidden = bool(considered - readable) and who.anything and box.quirks.filtered_header
        headers = (("X-Consul-Results-Filtered-By-Acls", "true"),) if hidden else ()
        return Reply({key: shown[key] for key in shown if key in chosen & readable}, headers=headers)

    # Checks.

    async def passing(self, ask: Ask) -> Reply:
        """Report a check as passing."""
        return self._report(ask, "passing", ask.first("note"))

    async def warning(self, ask: Ask) -> Reply:
        """Report a check as warning."""
        return self._report(ask, "warning", ask.first("note"))

    async def failing(self, ask: Ask) -> Reply:
        """Report a check as failing."""
        return self._report(ask, "critical", ask.first("note"))

    async def update(self, ask: Ask) -> Reply:
        """Report a check with the status in the body."""
        try:
            body = decode(_json(ask), _UPDATE, self.box.quirks.version, "checkUpdate")
        except DecodeError as error:
            raise Refused(400, f"Request decode failed: {error}") from error
        if text(body, "Status") not in STATUSES:
            raise Refused(400, f"Invalid check status: '{text(body, 'Status')}'")
        return self._report(ask, text(body, "Status"), text(body, "Output"))

    def _report(self, ask: Ask, status: str, output: str) -> Reply:
        ask.enterprise_options()
        quirks = self.box.quirks
        who = self.box.acl.resolve(ask.token)
        instance, check = self._known_check(ask.rest)
        self._may_write(who, instance.name)
        if check.kind != "ttl":
            raise Refused(500, f'CheckID "{ask.rest}" does not have associated TTL')
        self.registry.runner.touched(check, status, output)
        return empty(quirks)

    def _known_check(self, identifier: str) -> tuple[Instance, Check]:
        found = self.registry.check(identifier)
        if found is None:
            quirks = self.box.quirks
            if self.box.acl.enabled and quirks.unknown_check_status != 404:  # noqa: PLR2004
                raise Refused(500, f'Unknown check "{identifier}"')
            raise Refused(quirks.unknown_check_status, quirks.unknown_check_text.format(identifier))
        return found


def _refuse_scripts(checks: list[Object]) -> None:
    """Run no commands, as an agent in development mode does."""
    if any(is_script(check) for check in checks):
        raise Refused(
            500,
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
        )


def _json(ask: Ask) -> object:
    """The body, refused without the prefix that other malformed bodies get."""
    try:
        return ask.json("")
    except Refused as refused:
        raise DecodeError(refused.text.removeprefix(ask.quirks.bad_request_prefix)) from refused


def _kept(service: Object) -> Object:
    """What the agent keeps of a definition."""
    connect = child(service, "Connect")
    gone = {"Check", "Checks", "Token", "Connect"}
    return {
        **{key: value for key, value in service.items() if key not in gone},
        "Connect": {"Native": True} if connect.get("Native") else {},
    }

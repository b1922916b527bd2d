"""`/v1/agent/service` and `/v1/agent/check`: registration, the agent's services, and their checks."""

import asyncio
import random
from typing import Final, Literal

from aioconsulconnect.testing.go_json.errors import DecodeError, FatalNullError, errors
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import Field, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, child, is_object, text
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.handlers.registration_rules import (
    STATUSES,
    NoPortLeftError,
    check_complaint,
    check_definitions,
    complaints,
    filled,
    meta_complaint,
    refuse_addresses,
    refuse_foreign_nodes,
    refuse_scripts,
    sidecar_of,
    weights_complaint,
    with_port,
)
from aioconsulconnect.testing.handlers.service_shapes import AGENT_SERVICE, CHECK
from aioconsulconnect.testing.handlers.service_view import ServiceView, checks_of
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused
from aioconsulconnect.testing.protocol.reply import Reply, empty
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.registration.definition_shapes import AGENT_CHECK, SERVICE_DEFINITION
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.checks import Check
from aioconsulconnect.testing.state.service_registry import Instance, Registry

_KEPT_OUT: Final = frozenset({"ID", "Token", "Namespace"})
_CONNECT: Final = ("Native", "PeerMeta")
_UPDATE: Final = Struct((Field("Status"), Field("Output")), "agent.checkUpdate")
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 - refused, not listened on
_NO_REASON: Final = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)


class Services:
    """The handlers of `/v1/agent/service` and `/v1/agent/check` for one agent."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry
        self.view: ServiceView = ServiceView(context, registry)

    # Registering.

    async def register(self, request: ConsulRequest) -> Reply:
        """Register a service and its sidecar (`PUT /v1/agent/service/register`)."""
        request.enterprise_options()
        definition = self._definition(request)
        checks = check_definitions(definition)
        self._check_checks(checks, "Invalid check: ")
        if (text(definition, "ID") or text(definition, "Name")) == "consul":
            raise Refused(501, "The in-process agent does not model a service with the ID of Consul's own instance")
        service = filled({**definition, "Tags": definition.get("Tags") or []}, self.context.facts)
        sidecar = self._sidecar(service)
        who = self.context.acl.resolve(request.token)
        for each in [service, *([sidecar] if sidecar else [])]:
            self._may_register(who, each)
        refuse_addresses(service, self.context.facts)
        refuse_scripts(checks)
        replace = request.query.get("replace-existing-checks", ["false"])[0] in {"", "true"}
        instance = self.registry.register(_kept(service), checks, replace=replace)
        if sidecar is not None:
            given = check_definitions(sidecar)
            refuse_addresses(sidecar, self.context.facts)
            refuse_scripts(given)
            kept, parent = _kept(sidecar), instance.identifier
            # Where the agent does not check a sidecar as a service, the servers still do.
            odd = any(complaints(sidecar, self.context.facts))
            refused = odd or text(sidecar, "Address") in _ANY_ADDRESS
            self.registry.register(kept, given, replace=replace, parent=parent, in_catalog=not refused)
        return empty(self.context.facts)

    def _definition(self, request: ConsulRequest) -> Object:
        facts = self.context.facts
        try:
            definition = decode(request.unprefixed_json(), SERVICE_DEFINITION, facts.version, "")
        except DecodeError as error:
            raise Refused(400, f"Request decode failed: {error}") from error
        except FatalNullError as error:
            raise Dropped from error
        if not text(definition, "Name"):
            raise Refused(400, "Missing service name")
        if text(definition, "Address") in _ANY_ADDRESS:
            raise Refused(400, "Invalid service address")
        if wrong := weights_complaint(definition) or meta_complaint(definition):
            raise Refused(400, wrong)
        if found := list(complaints(definition, facts)):
            raise Refused(400, facts.registration_prefix + errors(found))
        return definition

    def _check_checks(self, checks: list[Object], prefix: str, status: int = 400) -> None:
        refuse_foreign_nodes(checks, self.context.node_name)
        for check in checks:
            if wrong := check_complaint(check, self.context.facts):
                raise Refused(status, prefix + wrong)
            if text(check, "Status") not in {"", *STATUSES}:
                words = self.context.facts.bad_request_prefix if status != 400 else ""  # noqa: PLR2004 - in a sidecar
                raise Refused(status, f"{words}Status for checks must 'passing', 'warning', 'critical'")

    def _sidecar(self, service: Object) -> Object | None:
        given = child(service, "Connect").get("SidecarService")
        if is_object(given):
            facts = self.context.facts
            words = facts.bad_request_prefix + "Invalid check in sidecar_service: "
            self._check_checks(check_definitions(given), words, facts.sidecar_check_status)
        sidecar = sidecar_of(service)
        if sidecar is None:
            return None
        facts = self.context.facts
        if wrong := meta_complaint(sidecar):
            words = f"{facts.bad_request_prefix}Invalid SidecarService: {wrong.removeprefix('Invalid Service Meta: ')}"
            raise Refused(facts.sidecar_check_status, words)
        if weights_complaint(sidecar):
            raise Refused(501, "The in-process agent takes no Weights of a sidecar that are none of a service")
        if facts.sidecars_are_checked and (found := list(complaints(sidecar, facts, sidecar_of_service=True))):
            raise Refused(400, "Failed Validation: " + errors(found))
        known = self.registry.get(text(sidecar, "ID"))
        try:
            return with_port(sidecar, self.registry.ports(), known.definition if known else None, facts)
        except NoPortLeftError as error:
            status = self.context.facts.ports_run_out_status
            raise Refused(status, ("Invalid SidecarService: " if status == 400 else "") + str(error)) from error  # noqa: PLR2004

    def _may_register(self, who: Authorizer, service: Object) -> None:
        known = self.registry.get(text(service, "ID"))
        names = [text(service, "Name"), *([known.name] if known else [])]
        destination = text(child(service, "Proxy"), "DestinationServiceName")
        for name in [*names, *([destination] if destination else [])]:
            self.context.acl.require_write(who, name, self.context.node_name)

    async def deregister(self, request: ConsulRequest) -> Reply:
        """Remove a service, its checks and its sidecar (`PUT /v1/agent/service/deregister/ID`)."""
        request.enterprise_options()
        context, facts = self.context, self.context.facts
        who = context.acl.resolve(request.token)
        instance = self.registry.get(request.rest)
        if instance is None:
            self._refuse_unknown(request.rest)
            return empty(facts)
        self.context.acl.require_write(who, instance.name, self.context.node_name)
        self.registry.deregister(instance)
        return empty(facts)

    def _refuse_unknown(self, identifier: str) -> None:
        """Refuse a service that is not there, as the version does.

        Older versions do so only with ACLs, which make them look for it, or where the id is empty.
        """
        facts = self.context.facts
        if facts.unknown_service_is_missing:
            raise Refused(404, facts.unknown_service_text.format(identifier))
        if self.context.acl.enabled:
            raise Refused(500, facts.unknown_service_text.format(identifier))
        if not identifier:
            raise Refused(500, "ServiceID missing")

    async def maintenance(self, request: ConsulRequest) -> Reply:
        """Put a service into maintenance or take it out (`PUT /v1/agent/service/maintenance/ID`)."""
        if not request.rest:
            raise Refused(400, "Missing service ID")
        if "enable" not in request.query:
            raise Refused(400, "Missing value for enable")
        if request.first("enable") not in TRUE | FALSE:
            raise Refused(400, f'Invalid value for enable: "{request.first("enable")}"')
        request.enterprise_options()
        who = self.context.acl.resolve(request.token)
        instance = self.registry.get(request.rest)
        if instance is None:
            self._refuse_unknown(request.rest)
            raise Refused(404, f'No service registered with ID "{request.rest}"')
        self.context.acl.require_write(who, instance.name, self.context.node_name)
        self.registry.set_maintenance(
            instance, request.first("reason") or _NO_REASON, on=request.first("enable") in TRUE
        )
        return empty(self.context.facts)

    # Reading.

    async def service(self, request: ConsulRequest) -> Reply:
        """Answer with one service (`GET /v1/agent/service/ID`).

        With `hash` it waits as long as the service has that content hash.
        """
        request.blocking_options()
        request.enterprise_options()
        context = self.context
        hurry = asyncio.get_running_loop().time() + request.options.wait + random.uniform(0, request.options.wait / 16)
        with context.holding(request, waits=bool(request.first("hash"))):
            while True:
                who = context.acl.resolve(request.token)
                instance = self.registry.get(request.rest)
                if instance is None:
                    raise Refused(404, f"unknown service ID: {request.rest}")
                context.acl.require(who, "service", "read", instance.name)
                service = self.view.agent_service(instance)
                content = self.view.content_hash(service)
                if content != request.first("hash") or not await context.store.wait([f"agent/{request.rest}"], hurry):
                    break
        return Reply(self.view.with_hash(service, content), headers=(("X-Consul-Contenthash", content),))

    async def services(self, request: ConsulRequest) -> Reply:
        """Answer with all services that the token may see (`GET /v1/agent/services`)."""
        request.enterprise_options()
        shown = {each.identifier: self.view.agent_service(each) for each in self.registry.all()}
        names = {each.identifier: each.name for each in self.registry.all()}
        return self._visible(request, shown, names, AGENT_SERVICE)

    async def checks(self, request: ConsulRequest) -> Reply:
        """Answer with all checks that the token may see (`GET /v1/agent/checks`)."""
        request.enterprise_options()
        owners = [self.registry.node.whole, *self.registry.all()]
        pairs = [(each, check) for each in owners for check in checks_of(each, in_catalog=False)]
        pairs.sort(key=lambda pair: pair[1].identifier)
        shown = {check.identifier: self.view.check(check, each, shown=False) for each, check in pairs}
        return self._visible(request, shown, {check.identifier: each.name for each, check in pairs}, CHECK)

    def _visible(self, request: ConsulRequest, shown: dict[str, Object], names: dict[str, str], shape: Struct) -> Reply:
        context, expression = self.context, request.first("filter")
        who = context.acl.resolve(request.token)
        of: Literal["checks", "services"] = "checks" if shape is CHECK else "services"
        keep = compile_filter(expression, context.facts.version, shape, of_agent=of) if expression else None
        node = context.node_name
        readable = {
            key
            for key, name in names.items()
            if who.may(*(("service", "read", name) if name else ("node", "read", node)))
        }
        chosen = {key for key, value in shown.items() if keep is None or keep(value)}
        considered = set(shown) if context.facts.rights_before_filter else chosen
        filtered = bool(considered - readable) and who.named and context.facts.filtered_header
        headers = (("X-Consul-Results-Filtered-By-Acls", "true"),) if filtered else ()
        return Reply({key: shown[key] for key in shown if key in chosen & readable}, headers=headers)

    # Checks.

    async def passing(self, request: ConsulRequest) -> Reply:
        """Report a TTL check as passing (`PUT /v1/agent/check/pass/ID`)."""
        return self._report(request, "passing", request.first("note"))

    async def warning(self, request: ConsulRequest) -> Reply:
        """Report a TTL check as warning (`PUT /v1/agent/check/warn/ID`)."""
        return self._report(request, "warning", request.first("note"))

    async def failing(self, request: ConsulRequest) -> Reply:
        """Report a TTL check as critical (`PUT /v1/agent/check/fail/ID`)."""
        return self._report(request, "critical", request.first("note"))

    async def update(self, request: ConsulRequest) -> Reply:
        """Report a TTL check with the status in the body (`PUT /v1/agent/check/update/ID`)."""
        try:
            body = decode(request.unprefixed_json(), _UPDATE, self.context.facts.version, "checkUpdate")
        except DecodeError as error:
            raise Refused(400, f"Request decode failed: {error}") from error
        if text(body, "Status") not in STATUSES:
            raise Refused(400, f"Invalid check status: '{text(body, 'Status')}'")
        return self._report(request, text(body, "Status"), text(body, "Output"))

    def _report(self, request: ConsulRequest, status: str, output: str) -> Reply:
        request.enterprise_options()
        facts = self.context.facts
        who = self.context.acl.resolve(request.token)
        instance, check = self._known_check(request.rest)
        self.context.acl.require_write(who, instance.name, self.context.node_name)
        if check.kind != "ttl":
            raise Refused(500, f'CheckID "{request.rest}" does not have associated TTL')
        self.registry.runner.touched(check, status, output)
        return empty(facts)

    def _known_check(self, identifier: str) -> tuple[Instance, Check]:
        found = self.registry.check(identifier)
        if found is None:
            facts = self.context.facts
            if self.context.acl.enabled and facts.unknown_check_status != 404:  # noqa: PLR2004
                raise Refused(500, f'Unknown check "{identifier}"')
            raise Refused(facts.unknown_check_status, facts.unknown_check_text.format(identifier))
        return found


class CheckRegistration:
    """The handlers that add a check to a service and take one from it, for one agent."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry

    async def register(self, request: ConsulRequest) -> Reply:
        """Add a check to a service, or replace it (`PUT /v1/agent/check/register`)."""
        request.enterprise_options()
        definition = self._definition(request)
        who = self.context.acl.resolve(request.token)
        instance = self._owner(definition)
        self.context.acl.require_write(who, instance.name, self.context.node_name)
        refuse_scripts([definition])
        self.registry.add_check(instance, definition)
        return empty(self.context.facts)

    def _definition(self, request: ConsulRequest) -> Object:
        facts = self.context.facts
        try:
            given = decode(request.unprefixed_json(), AGENT_CHECK, facts.version, "")
        except DecodeError as error:
            raise Refused(400, f"Request decode failed: {error}") from error
        if not text(given, "Name"):
            raise Refused(400, "Missing check name")
        if text(given, "Status") not in {"", *STATUSES}:
            raise Refused(400, "Bad check status")
        refuse_foreign_nodes([given], self.context.node_name)
        if wrong := check_complaint(given, facts):
            raise Refused(400, f"Invalid check: {wrong}")
        kept: Object = {key: value for key, value in given.items() if key not in _KEPT_OUT}
        times: Object = {member: text(given, member) or "0s" for member in ("Interval", "Timeout")}
        return {**kept, **times, "CheckID": text(given, "ID") or text(given, "Name")}

    def _owner(self, definition: Object) -> Instance:
        service_id = text(definition, "ServiceID")
        if definition["CheckID"] == "serfHealth":
            raise Refused(501, "The in-process agent does not model another check in place of serfHealth")
        if not service_id:
            return self.registry.node.whole
        instance = self.registry.get(service_id)
        if instance is None:
            status = 404 if self.context.facts.unknown_service_is_missing else 500
            raise Refused(status, f'ServiceID "{service_id}" does not exist')
        return instance

    async def deregister(self, request: ConsulRequest) -> Reply:
        """Take a check from its service or node (`PUT /v1/agent/check/deregister/ID`)."""
        request.enterprise_options()
        facts = self.context.facts
        who = self.context.acl.resolve(request.token)
        found = self.registry.check(request.rest)
        if found is None:
            if facts.unknown_service_is_missing:
                raise Refused(404, facts.unknown_check_text.format(request.rest))
            if self.context.acl.enabled:
                raise Refused(500, f'Unknown check "{request.rest}"')
            if not request.rest:
                raise Refused(500, "CheckID missing")
            return empty(facts)
        instance, check = found
        self.context.acl.require_write(who, instance.name, self.context.node_name)
        self.registry.remove_check(instance, check)
        return empty(facts)


def _kept(service: Object) -> Object:
    """The members of a definition that the agent keeps."""
    connect = child(service, "Connect")
    gone = {"Check", "Checks", "Token", "Connect"}
    return {
        **{key: value for key, value in service.items() if key not in gone},
        "Connect": {key: connect[key] for key in _CONNECT if key in connect and connect[key] is not False},
    }

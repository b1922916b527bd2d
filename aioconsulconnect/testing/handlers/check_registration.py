"""`/v1/agent/check/register` and `/deregister`: checks of a service by themselves."""

from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, text
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.handlers.registration_rules import STATUSES, check_complaint, refuse_scripts
from aioconsulconnect.testing.handlers.service_shapes import AGENT_CHECK
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Reply, empty
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.service_registry import Instance, Registry

_KEPT_OUT: Final = frozenset({"ID", "Token", "Namespace"})


class CheckRegistration:
    """The handlers that add a check to a service and take one from it, for one agent."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry

    async def register(self, request: ConsulRequest) -> Reply:
        """Add a check to a service, or replace it (`PUT /v1/agent/check/register`)."""
        request.enterprise_options()
        definition = self._definition(request)
        instance = self._owner(definition)
        self._may_write(request, instance)
        refuse_scripts([definition])
        self.registry.add_check(instance, definition)
        return empty(self.context.facts)

    def _definition(self, request: ConsulRequest) -> Object:
        facts = self.context.facts
        try:
            given = decode(request.unprefixed_json(), AGENT_CHECK, facts.version, "CheckDefinition")
        except DecodeError as error:
            raise Refused(400, f"Request decode failed: {error}") from error
        if not text(given, "Name"):
            raise Refused(400, "Missing check name")
        if text(given, "Status") not in {"", *STATUSES}:
            raise Refused(400, "Bad check status")
        if wrong := check_complaint(given, facts):
            raise Refused(400, f"Invalid check: {wrong}")
        kept: Object = {key: value for key, value in given.items() if key not in _KEPT_OUT}
        return {**kept, "CheckID": text(given, "ID") or text(given, "Name")}

    def _owner(self, definition: Object) -> Instance:
        service_id = text(definition, "ServiceID")
        if not service_id:
            raise Refused(501, "The in-process agent models no checks of the node: give a ServiceID")
        instance = self.registry.get(service_id)
        if instance is None:
            status = 404 if self.context.facts.unknown_service_is_missing else 500
            raise Refused(status, f'ServiceID "{service_id}" does not exist')
        return instance

    async def deregister(self, request: ConsulRequest) -> Reply:
        """Take a check from its service (`PUT /v1/agent/check/deregister/ID`)."""
        request.enterprise_options()
        facts = self.context.facts
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
        self._may_write(request, instance)
        self.registry.remove_check(instance, check)
        return empty(facts)

    def _may_write(self, request: ConsulRequest, instance: Instance) -> None:
        acl = self.context.acl
        acl.require(acl.resolve(request.token), "service", "write", instance.name)

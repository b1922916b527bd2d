"""The agent's own node: its maintenance, and the health of services as the agent itself sees it."""

from typing import Final

from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import Field, Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.handlers.service_shapes import CHECK
from aioconsulconnect.testing.handlers.service_view import ServiceView, checks_of
from aioconsulconnect.testing.protocol.refusals import Refused, failed
from aioconsulconnect.testing.protocol.reply import Reply, empty
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.service_registry import MAINTENANCE, NODE_MAINTENANCE, Instance, Registry

_TEXT: Final = "text/plain"
_NO_REASON: Final = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
_STATUS: Final = {"passing": 200, "warning": 429, "critical": 503, "maintenance": 503}
"""The states of a service, from the best to the worst, with the status of the answer."""
_INTERNALS: Final = Struct(
    (
        *(Field(name, always=True) for name in ("Interval", "Timeout", "DeregisterCriticalServiceAfter", "HTTP")),
        Field("Header", "any", always=True),
        Field("Method", always=True),
        Field("Body", always=True),
        Field("TLSServerName", always=True, since="1.10"),
        Field("TLSSkipVerify", "bool", always=True),
        Field("TCP", always=True),
        Field("TCPUseTLS", "bool", always=True, since="1.16"),
        Field("UDP", always=True, since="1.16"),
        Field("GRPC", always=True, since="1.10"),
        Field("OSService", always=True, since="1.16"),
        Field("GRPCUseTLS", "bool", always=True, since="1.10"),
    )
)
_CHECK: Final = Struct(tuple(each for each in CHECK.fields if each.name not in {"Interval", "Timeout"}))
_CHECK_OF_CLIENTS: Final = (
    _CHECK.with_member(Field("ServiceTags", "any", always=True))
    .with_member(Field("ExposedPort", "int", always=True, since="1.11"))
    .with_member(Field("Definition", _INTERNALS, always=True))
)
"""A check in the form of the client library, of which the agent fills in a part."""
_UNSET: Final = dict.fromkeys(("Interval", "Timeout", "DeregisterCriticalServiceAfter"), "0s")


class NodeHealth:
    """The handlers of one agent (`context`) for its own node and the health of its services in `registry`."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry
        self.view: ServiceView = ServiceView(context, registry)

    async def maintenance(self, request: ConsulRequest) -> Reply:
        """Put the node into maintenance or take it out (`PUT /v1/agent/maintenance`)."""
        wanted = request.first("enable")
        if "enable" not in request.query:
            raise Refused(400, "Missing value for enable")
        if wanted not in TRUE | FALSE:
            raise Refused(400, f'Invalid value for enable: "{wanted}"')
        context = self.context
        context.acl.require(context.acl.resolve(request.token), "node", "write", context.node_name)
        reason = request.first("reason") or _NO_REASON
        self.registry.set_maintenance(self.registry.node.whole, reason, on=wanted in TRUE)
        return empty(context.facts)

    async def by_id(self, request: ConsulRequest) -> Reply:
        """Answer with the health of a service by its id (`GET /v1/agent/health/service/id/ID`)."""
        self._checked_name(request, "Missing serviceID")
        context = self.context
        who = context.acl.resolve(request.token)
        instance = self.registry.get(request.rest)
        if instance is None:
            words = f"ServiceId {request.rest} not found"
            missing: Object = {"AggregatedStatus": "critical", "Service": None, "Checks": None}
            if request.first("format") == "text" and context.facts.quotes_missing_service:
                return Reply(words, 404, headers=(("X-Consul-Reason", words),))
            return _answer(request, missing, words, 404)
        context.acl.require(who, "service", "read", instance.name)
        return _answer(request, self._health(instance), self._state(instance))

    async def by_name(self, request: ConsulRequest) -> Reply:
        """Answer with the health of all instances of a service (`GET /v1/agent/health/service/name/NAME`).

        The status is that of the worst.
        """
        self._checked_name(request, "Missing service Name")
        context = self.context
        context.acl.require(context.acl.resolve(request.token), "service", "read", request.rest)
        found = [each for each in self.registry.all() if each.name == request.rest]
        if not found:
            return _answer(request, [], f"ServiceName {request.rest} Not Found", 404)
        worst = max((self._state(each) for each in found), key=list(_STATUS).index)
        return _answer(request, [self._health(each) for each in found], worst)

    @staticmethod
    def _checked_name(request: ConsulRequest, complaint: str) -> None:
        if not request.rest:
            raise failed(request.facts.bad_request_prefix + complaint)
        request.enterprise_options()

    def _state(self, instance: Instance) -> str:
        owners = (self.registry.node.whole, instance)
        checks = [each for owner in owners for each in checks_of(owner, in_catalog=False)]
        if any(each.identifier == NODE_MAINTENANCE or each.identifier.startswith(MAINTENANCE) for each in checks):
            return "maintenance"
        return max((each.status for each in checks), key=list(_STATUS).index, default="passing")

    def _health(self, instance: Instance) -> Object:
        owners = (self.registry.node.whole, instance)
        checks = [
            shape(
                {
                    **self.view.check(check, owner, shown=False),
                    "ServiceTags": check.tags or None,
                    "Type": "",
                    "Definition": _UNSET,
                },
                _CHECK_OF_CLIENTS,
                self.context.facts.version,
            )
            for owner in owners
            for check in checks_of(owner, in_catalog=False)
        ]
        return {
            "AggregatedStatus": self._state(instance),
            "Service": self.view.agent_service(instance),
            "Checks": checks,
        }


def _answer(request: ConsulRequest, body: object, reason: str, status: int = 0) -> Reply:
    """Make an answer with its `reason`, which is all of it where the request wants text.

    Its status is that of the state which is its reason, by default.
    """
    headers = (("X-Consul-Reason", reason),)
    if request.first("format") == "text":
        return Reply(reason.encode(), status or _STATUS[reason], _TEXT, headers=headers)
    return Reply(body, status or _STATUS[reason], headers=headers)

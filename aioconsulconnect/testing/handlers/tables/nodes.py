"""`/v1/catalog/node` and `/v1/health/node`: the catalog by node, and checks by their state."""

from collections.abc import Callable, Iterable
from typing import Final

from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object, child, text
from aioconsulconnect.testing.handlers.context import AgentContext, Found
from aioconsulconnect.testing.handlers.selection import node_fits
from aioconsulconnect.testing.handlers.service_shapes import CHECK, NODE, NODE_SERVICE
from aioconsulconnect.testing.handlers.service_view import ServiceView
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.service_registry import Node, Registry

_HYPHENS: Final = 4


class Nodes:
    """The handlers of one agent (`context`) that read its catalog in `registry` by node."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry
        self.view: ServiceView = ServiceView(context, registry)

    async def datacenters(self, request: ConsulRequest) -> Reply:
        """Answer with the names of the datacenters (`GET /v1/catalog/datacenters`)."""
        request.consistency_options(besides=[self.context.datacenter])
        context = self.context
        cached = "cached" in request.query
        cache, age = context.cached(request, ("datacenters",)) if cached else (None, None)
        return Reply([context.datacenter], cache=cache, age=age)

    async def node(self, request: ConsulRequest) -> Reply:
        """Answer with a node and its services by id (`GET /v1/catalog/node/NAME`)."""
        return await self._node(request, absent=None, services=lambda found: {text(each, "ID"): each for each in found})

    async def node_services(self, request: ConsulRequest) -> Reply:
        """Answer with a node and the list of its services (`GET /v1/catalog/node-services/NAME`)."""
        return await self._node(request, absent={"Node": None, "Services": None}, services=list)

    async def _node(
        self, request: ConsulRequest, *, absent: Object | None, services: Callable[[Iterable[Object]], object]
    ) -> Reply:
        context, registry, facts = self.context, self.registry, self.context.facts
        asked = self._named(request, "node name")
        keep = self._filter(request, NODE_SERVICE)

        def query() -> Found[Object | None]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            node = registry.nodes.get(asked) or _with_id(registry.nodes.values(), asked)
            name = node.name.lower() if node else asked
            keys = (f"nodes/{name}", f"on/{name}")
            if node is None:
                index = context.store.touched("node-extinctions") if facts.nodes_have_index else 1
                return Found(absent, index, keys, absent=True)
            index = context.store.touched(*(keys if facts.nodes_have_index else ("nodes", "services")))
            if not who.may("node", "read", node.name):
                return Found(absent, index, keys, filtered=who.named)
            every = registry.on(node)
            seen = [each for each in every if who.may("service", "read", each.name)]
            shown = [child(self.view.healthy_service(each, each.resolved), "Service") for each in seen]
            value: Object = {
                "Node": shape(self.view.node(node), NODE, facts.version),
                "Services": services(each for each in shown if keep(each)) if shown or absent is None else None,
            }
            return Found(value, index, keys, filtered=len(seen) < len(every) and who.named)

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found, consistency=True))

    async def checks(self, request: ConsulRequest) -> Reply:
        """Answer with the checks of a node and of its services (`GET /v1/health/node/NAME`)."""
        name = self._named(request, "node name")
        nodes = self.registry.nodes

        def of_node() -> list[Node]:
            return [nodes[name]] if name in nodes else []

        wide = self.context.facts.nodes_have_index  # Since then checks of any node wake it.
        return await self._checks(request, of_node, ("checks",) if wide else (f"checks/{name}",))

    async def state(self, request: ConsulRequest) -> Reply:
        """Answer with the checks in a state, or in any (`GET /v1/health/state/STATE`)."""
        self._named(request, "check state")
        nodes = self.registry.nodes

        def fitting() -> list[Node]:
            return [nodes[name] for name in sorted(nodes) if node_fits(request, nodes[name])]

        return await self._checks(request, fitting, ("checks",), "" if request.rest == "any" else request.rest)

    async def _checks(
        self, request: ConsulRequest, nodes: Callable[[], list[Node]], keys: tuple[str, ...], state: str = ""
    ) -> Reply:
        context = self.context
        keep = self._filter(request, CHECK)
        fold = str.lower if context.facts.states_ignore_case else str
        last: list[Found[list[Object]]] = []

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            every = [check for node in nodes() for check in self.view.all_checks(node)]
            every = [check for check in every if not state or fold(text(check, "Status")) == fold(state)]
            kept = [check for check in every if keep(check)]
            seen = [check for check in kept if _may_read(who, check)]
            considered = every if context.facts.rights_before_filter else kept
            filtered = not all(_may_read(who, check) for check in considered) and who.named
            if state and last and last[0].value == seen:
                return last[0]  # Checks in other states do not wake it.
            last[:] = [Found(seen, context.store.touched("checks"), keys, filtered=filtered)]
            return last[0]

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found, consistency=True))

    def _named(self, request: ConsulRequest, what: str) -> str:
        """Read the options of a request, and then the name in its path, in lower case."""
        request.enterprise_options()
        request.read_options()
        if not request.rest:
            raise Refused(400, f"Missing {what}")
        return request.rest.lower()

    def _filter(self, request: ConsulRequest, struct: Struct) -> Callable[[Object], bool]:
        """The filter of a request as a predicate, which is true of everything where there is none."""
        self.context.check_datacenter(request)
        expression = request.first("filter")
        return compile_filter(expression, self.context.facts.version, struct) if expression else lambda _: True


def _with_id(nodes: Iterable[Node], wanted: str) -> Node | None:
    """The only node whose id begins with `wanted`, without its last character if it has an odd number of them.

    Its hyphens do not count; None where `wanted` is no part of an id.
    """
    digits = wanted[: len(wanted) // 2 * 2].replace("-", "")
    known = len(wanted) > 1 and len(digits) % 2 == 0 and wanted.count("-") <= _HYPHENS
    found = [
        each for each in nodes if known and text(each.definition, "ID").lower().replace("-", "").startswith(digits)
    ]
    found = [each for each in found if text(each.definition, "ID")]
    return found[0] if len(found) == 1 else None


def _may_read(who: Authorizer, check: Object) -> bool:
    service = text(check, "ServiceName")
    return who.may("node", "read", text(check, "Node")) and (not service or who.may("service", "read", service))

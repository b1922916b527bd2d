"""`/v1/catalog` and `/v1/health`: the instances of a service, and their checks."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from aioconsulconnect.testing.config_entries.central_configuration import resolved
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object, child, text, texts
from aioconsulconnect.testing.handlers.context import AgentContext, Found, QueryCache
from aioconsulconnect.testing.handlers.gateway_services import (
    gateway_keys,
    gateway_services,
    ingresses_of,
    terminating_to,
)
from aioconsulconnect.testing.handlers.selection import node_fits, passing
from aioconsulconnect.testing.handlers.service_shapes import CATALOG_SERVICE, CHECK, HEALTHY_SERVICE, NODE
from aioconsulconnect.testing.handlers.service_view import ServiceView, checks_of
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused
from aioconsulconnect.testing.protocol.reply import Meta, Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Authorizer, bare_denial
from aioconsulconnect.testing.state.entry_graph import Graph
from aioconsulconnect.testing.state.service_registry import Instance, Registry
from aioconsulconnect.testing.state.store import Key, gateway_key

_RETRIES: Final = (5.0, 8.0)
"""The range of seconds for which a streaming read tries again before it refuses an unknown token."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The instances that a query finds, with their index and the keys whose writes may change them."""

    instances: list[Instance]
    index: int
    keys: tuple[Key, ...]


Search = Callable[[str], _Seen]


class Catalog:
    """The handlers of `/v1/catalog` and `/v1/health` for one agent."""

    def __init__(self, context: AgentContext, registry: Registry, graph: Graph) -> None:
        self.context = context
        self.registry = registry
        self.graph = graph
        self.view: ServiceView = ServiceView(context, registry)
        self._views: dict[tuple[str, str], int] = {}
        self._cache = QueryCache[list[Object]](context)

    # Searches.

    def _named(self, name: str, *, checks: bool) -> _Seen:
        found = self.registry.named(name)
        watch = self.context.store.watch(f"served/{name.lower()}")
        keys: tuple[Key, ...] = (watch, *([f"instances/{name.lower()}"] if checks else []))
        return _Seen(found, self.registry.index(name, exists=bool(found), checks=checks), keys)

    def _in_mesh(self, name: str, *, checks: bool) -> _Seen:
        gateways, store = terminating_to(name, self.registry), self.context.store
        found = self.registry.connect(name) + [each for name in gateways for each in self.registry.named(name)]
        names = {each.name.lower() for each in found}
        rows = (f"instances/{each}" for each in names.union(map(str.lower, gateways)))
        keys: tuple[Key, ...] = (f"mesh/{name.lower()}", *rows, "gateway", store.watch(f"meshed/{name.lower()}"))
        if not found or not (checks or gateways):
            return _Seen(found, self.registry.index(name, exists=bool(found), checks=checks), keys)
        indexes = [self.registry.index(each, exists=True, checks=checks) for each in names]
        return _Seen(found, max(*indexes, *map(store.touched, map(gateway_key, gateways)), 1), keys)

    def _ingress(self, name: str) -> _Seen:
        found: list[Instance] = []
        indexes = [1]
        for gateway in (text(entry, "Name") for entry in ingresses_of(name, self.registry, self.graph)):
            instances = self.registry.named(gateway)
            found += instances
            of_service = self.registry.index(gateway, exists=bool(instances), checks=False)
            indexes += [self.context.store.touched(gateway_key(gateway)), of_service]
        return _Seen(found, max(indexes), ("config", "services", "checks"))

    # The catalog.

    async def connect(self, request: ConsulRequest) -> Reply:
        """Answer with the proxies and native instances of a service (`GET /v1/catalog/connect/NAME`)."""
        return await self._catalog(request, lambda name: self._in_mesh(name, checks=False), mesh=True)

    async def service(self, request: ConsulRequest) -> Reply:
        """Answer with the instances of a service (`GET /v1/catalog/service/NAME`)."""
        return await self._catalog(request, lambda name: self._named(name, checks=False), mesh=False)

    async def _catalog(self, request: ConsulRequest, search: Search, *, mesh: bool) -> Reply:
        name = self._service_name(request)
        context, merged = self.context, self._merges(request)

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            if mesh and not who.may("service", "read", name):
                raise _Denied
            if self.context.facts.catalog_takes_peer and request.first("peer"):
                return Found([], 1, ())
            seen = search(name)
            shown = [
                (each, self.view.catalog_service(each, self._definition(each, merged), merged=merged))
                for each in self._tagged(request, seen.instances, mesh=mesh)
            ]
            kept, filtered = self._visible(request, who, shown, filtered_by=CATALOG_SERVICE)
            return Found(kept, seen.index, seen.keys, filtered=filtered)

        cache, age = (
            context.cached(request, ("catalog", mesh, request.rest)) if request.options.cached else (None, None)
        )
        try:
            found = await context.block(request, query, cache=self._cache if request.options.cached else None)
        except _Denied:
            return Reply(
                [], meta=Meta(1, known_leader=False, consistency=request.options.consistency), cache=cache, age=age
            )
        return Reply(found.value, meta=context.meta(request, found, consistency=True), cache=cache, age=age)

    async def nodes(self, request: ConsulRequest) -> Reply:
        """Answer with the nodes (`GET /v1/catalog/nodes`)."""
        request.read_options()
        request.partition_options()
        context, facts, expression = self.context, self.context.facts, request.first("filter")
        context.check_datacenter(request)
        keep = compile_filter(expression, facts.version, NODE) if expression else None
        nodes = self.registry.nodes

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            fitting = [nodes[name] for name in sorted(nodes) if node_fits(request, nodes[name])]
            found = [shape(self.view.node(each), NODE, facts.version) for each in fitting]
            found = [each for each in found if keep is None or keep(each)]
            seen = [each for each in found if who.may("node", "read", text(each, "Node"))]
            filtered = len(seen) < len(found) and who.named
            tables = ("nodes", "on") if facts.nodes_have_index else ("nodes",)
            return Found(seen, context.store.touched(*tables), ("nodes",), filtered=filtered)

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found, consistency=True))

    async def services(self, request: ConsulRequest) -> Reply:
        """Answer with the names of all services and their tags (`GET /v1/catalog/services`)."""
        request.enterprise_options()
        request.read_options()
        context, facts = self.context, self.context.facts
        context.check_datacenter(request)
        expression = request.first("filter") if facts.services_take_filter else ""
        keep = compile_filter(expression, facts.version, CATALOG_SERVICE) if expression else None

        def query() -> Found[Object]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            tags: dict[str, dict[str, None]] = {}
            unseen = False
            for each in self._tagged(request, self.registry.everywhere(), mesh=True):
                if keep is not None and not keep(self.view.catalog_service(each, each.resolved)):
                    continue
                if facts.services_need_node and not who.may("node", "read", each.node.name):
                    unseen = True
                    continue
                tags.setdefault(each.name, {}).update(dict.fromkeys(texts(each.definition, "Tags")))
            value: Object = {name: list(tags[name]) for name in sorted(tags) if who.may("service", "read", name)}
            filtered = (unseen or len(value) < len(tags)) and who.named
            return Found(value, context.store.touched("services", "nodes"), ("services",), filtered=filtered)

        cache, age = context.cached(request, ("services",)) if request.options.cached else (None, None)
        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found, consistency=True), cache=cache, age=age)

    async def gateway_services(self, request: ConsulRequest) -> Reply:
        """Answer with the services behind a gateway (`GET /v1/catalog/gateway-services/NAME`)."""
        request.enterprise_options()
        request.read_options()
        if not request.rest:
            raise Refused(400, "Missing gateway name")
        context = self.context

        def query() -> Found[list[Object] | None]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            if not who.may("service", "read", request.rest):
                raise context.acl.denied(who, "service:read", request.rest)
            every = gateway_services(request.rest, self.registry, self.graph)
            seen = [row for row in every if who.may("service", "read", text(child(row, "Service"), "Name"))]
            filtered = len(seen) < len(every) and who.named
            tables = gateway_keys(self.registry)
            watch = context.store.watch(gateway_key(request.rest))
            keys: tuple[Key, ...] = (watch, *(key for key in tables if key != "gateway"))
            shown = seen if every or context.acl.enabled or context.facts.no_gateway_services_is_empty else None
            return Found(shown, context.store.touched(*tables), keys, filtered=filtered)

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found, consistency=True))

    # Health.

    async def healthy_connect(self, request: ConsulRequest) -> Reply:
        """Answer with the proxies and native instances of a service, and their checks.

        `GET /v1/health/connect/NAME`.
        """
        return await self._health(request, lambda name: self._in_mesh(name, checks=True), "connect")

    async def healthy_service(self, request: ConsulRequest) -> Reply:
        """Answer with the instances of a service, and their checks (`GET /v1/health/service/NAME`)."""
        return await self._health(request, lambda name: self._named(name, checks=True), "service")

    async def healthy_ingress(self, request: ConsulRequest) -> Reply:
        """Answer with the ingress gateways that lead to a service, and their checks.

        `GET /v1/health/ingress/NAME`. With a tag it is a read of the service itself.
        """
        search: Search = (lambda name: self._named(name, checks=True)) if "tag" in request.query else self._ingress
        return await self._health(request, search, "ingress")

    async def checks(self, request: ConsulRequest) -> Reply:
        """Answer with the checks of the instances of a service (`GET /v1/health/checks/NAME`)."""
        name = self._service_name(request)
        context = self.context

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            seen = self._named(name, checks=True)
            fitting = [each for each in seen.instances if node_fits(request, each.node)]
            shown = [(each, self.view.check(c, each, shown=True)) for each in fitting for c in checks_of(each)]
            kept, filtered = self._visible(request, who, shown, filtered_by=CHECK)
            keys = (context.store.watch(f"checked/{name.lower()}"),)
            return Found(kept, context.store.touched("checks"), keys, filtered=filtered)

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found, consistency=True))

    async def _health(self, request: ConsulRequest, search: Search, kind: str) -> Reply:
        name = self._service_name(request)
        context, facts = self.context, self.context.facts
        merged = self._merges(request)
        streaming = (
            facts.streaming
            and kind != "ingress"
            and not request.first("near")
            and bool(request.options.index or request.options.cached)
        )
        self._refuse_sameness(request)
        if streaming and (late := await self._late_refusal(request)) is not None:
            return late

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            seen = self._streamed(kind, name, search(name)) if streaming else search(name)
            if kind != "service" and not streaming and not who.may("service", "read", name):
                raise bare_denial() if facts.denied_health_is_refused else _Denied
            if facts.peers and request.first("peer"):
                return Found([], 1, ())
            shown = [
                (each, self.view.healthy_service(each, self._definition(each, merged)))
                for each in self._tagged(request, seen.instances, mesh=kind == "connect")
            ]
            kept, filtered = self._visible(request, who, shown, filtered_by=HEALTHY_SERVICE)
            return Found(kept, seen.index, seen.keys, filtered=filtered and not streaming)

        cache, age = context.cached(request, ("health", kind, request.rest)) if request.options.cached else (None, None)
        try:
            held = self._cache if request.options.cached and not streaming else None
            found = await context.block(request, query, local=streaming, cache=held)
        except _Denied:
            return Reply(
                [], meta=Meta(1, known_leader=False, consistency=request.options.consistency), cache=cache, age=age
            )
        wanted = self._passing(request, found.index)
        meta = context.meta(request, found, consistency=True)
        if streaming:
            meta = replace(meta, known_leader=False, backend="streaming")
        return Reply(passing(found.value) if wanted else found.value, meta=meta, cache=cache, age=age)

    def _streamed(self, kind: str, name: str, seen: _Seen) -> _Seen:
        """Narrow a result to what a streaming view holds.

        Changes of other services do not reach the view, and its index does not move while it is empty.
        """
        own = (f"{'mesh' if kind == 'connect' else 'instances'}/{name.lower()}",)
        if seen.instances:
            return replace(seen, index=max(seen.index, self.context.store.touched(*own)), keys=own)
        first = self._views.setdefault((kind, name.lower()), seen.index)
        return replace(seen, index=max(first, self.context.store.touched(*own)), keys=own)

    async def _late_refusal(self, request: ConsulRequest) -> Reply | None:
        """Refuse an unknown token as streaming does; None for a known one.

        Newer versions try again for seconds before, and answer with an empty list if the wait ends earlier.
        """
        context = self.context
        try:
            context.acl.resolve(request.token)
        except Refused as refused:
            if not context.facts.streaming_retries:
                raise Refused(403, f"rpc error: code = Unknown desc = {refused.text}") from refused
            retries = random.uniform(*_RETRIES)
            await context.store.wait([], asyncio.get_running_loop().time() + min(request.options.wait, retries))
            if retries <= request.options.wait:
                raise
            return Reply(
                [], meta=Meta(1, known_leader=False, consistency=request.options.consistency, backend="streaming")
            )
        return None

    def _refuse_sameness(self, request: ConsulRequest) -> None:
        if self.context.facts.sameness_groups_refused and (request.first("sg") or request.first("sameness-group")):
            if request.first("peer"):
                raise Refused(400, "peer-name and sameness-group are mutually exclusive")
            raise Refused(500, "sameness groups are not supported in consul CE")

    def _passing(self, request: ConsulRequest, index: int) -> bool:
        wanted = request.first("passing")
        if wanted and wanted not in TRUE | FALSE:
            at = index if self.context.facts.bad_passing_has_index else None
            raise Refused(400, "Invalid value for ?passing", at=at, consistency=request.options.consistency)
        return "passing" in request.query and wanted not in FALSE

    # Shared by the handlers.

    def _service_name(self, request: ConsulRequest) -> str:
        """Read the options of a request, and then the name in its path."""
        request.enterprise_options()
        request.read_options()
        if not request.rest:
            raise Refused(400, "Missing service name")
        return request.rest

    def _merges(self, request: ConsulRequest) -> bool:
        return "merge-central-config" in request.query and self.context.facts.virtual_ips

    def _definition(self, instance: Instance, merged: bool) -> Object:
        """The definition of an instance; if `merged`, central configuration is merged over it once more."""
        if not merged:
            return instance.resolved
        return resolved(instance.resolved, self.context.store.entry, self.context.facts)

    def _tagged(self, request: ConsulRequest, instances: list[Instance], *, mesh: bool) -> list[Instance]:
        """The instances with the requested tags and node metadata; queries of the mesh ignore tags."""
        instances = [each for each in instances if node_fits(request, each.node)]
        wanted = {tag.lower() for tag in request.query.get("tag", [])} if not mesh else set[str]()
        return [each for each in instances if wanted <= {tag.lower() for tag in texts(each.definition, "Tags")}]

    def _visible(
        self, request: ConsulRequest, who: Authorizer, shown: list[tuple[Instance, Object]], *, filtered_by: Struct
    ) -> tuple[list[Object], bool]:
        """The objects that filter and token leave, and true if the token hides some of them."""
        facts, expression = self.context.facts, request.first("filter")
        keep = compile_filter(expression, facts.version, filtered_by) if expression else None
        readable = [
            who.may("node", "read", each.node.name) and who.may("service", "read", each.name) for each, _ in shown
        ]
        chosen = [keep is None or keep(value) for _, value in shown]
        filtered = any(
            not may and (facts.rights_before_filter or kept) for may, kept in zip(readable, chosen, strict=True)
        )
        seen = [each for each, may, kept in zip(shown, readable, chosen, strict=True) if may and kept]
        if filtered_by is not CHECK and any(self.view.is_unreadable(each) for each, _ in seen):
            raise Dropped
        return [value for _, value in seen], filtered and who.named


class _Denied(Exception):
    """The token lacks the right to the service, and the answer is an empty list."""

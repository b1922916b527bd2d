"""`/v1/discovery-chain` and `/v1/exported-services`."""

from typing import Final

from aioconsulconnect.testing.config_entries.chain_targets import Overrides
from aioconsulconnect.testing.config_entries.discovery_chain import GraphError
from aioconsulconnect.testing.config_entries.shapes.shared import MESH_GATEWAY
from aioconsulconnect.testing.go_json.errors import DecodeError, go_type
from aioconsulconnect.testing.go_json.schema import Field, Struct
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, text
from aioconsulconnect.testing.go_json.weak_decoder import decode_known
from aioconsulconnect.testing.handlers.context import AgentContext, Found, QueryCache
from aioconsulconnect.testing.protocol.refusals import Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.entry_graph import Graph
from aioconsulconnect.testing.state.service_registry import Registry
from aioconsulconnect.testing.state.store import entry_key

_MODES: Final = frozenset({"", "none", "local", "remote"})
_OVERRIDES: Final = Struct(
    (
        Field("OverrideMeshGateway", MESH_GATEWAY),
        Field("OverrideProtocol"),
        Field("OverrideConnectTimeout", "duration"),
    )
)


class Chains:
    """The handlers of `/v1/discovery-chain` and `/v1/exported-services` for one agent."""

    def __init__(self, context: AgentContext, registry: Registry, graph: Graph) -> None:
        self.context = context
        self.registry = registry
        self.graph = graph
        self._cache = QueryCache[Object](context)

    async def chain(self, request: ConsulRequest) -> Reply:
        """Answer with the discovery chain of a service (`GET` or `POST /v1/discovery-chain/NAME`).

        The body of a POST may override mesh gateway mode, protocol and connect timeout.
        """
        request.read_options()
        request.enterprise_options()
        if not request.rest:
            raise request.bad("Missing chain name")
        overrides = self._overrides(request) if request.method == "POST" else Overrides()
        context, name = self.context, request.rest
        compile_datacenter = request.first("compile-dc")

        def query() -> Found[Object]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            context.acl.require(who, "service", "read", name)
            lookup = context.store.entry
            try:
                chain = self.graph.compile(name, lookup, datacenter=compile_datacenter, overrides=overrides)
            except GraphError as error:
                raise refused_by_server(str(error)) from error
            value: Object = {"Chain": {**chain, **self._addresses(name)}}
            return Found(value, context.store.touched("config"), ("config",), unchanged=chain)

        cache, age = (
            context.cached(request, ("chain", name, compile_datacenter, overrides))
            if request.options.cached
            else (None, None)
        )
        found = await context.block(request, query, cache=self._cache if request.options.cached else None)
        return Reply(found.value, meta=context.meta(request, found, consistency=True), cache=cache, age=age)

    def _addresses(self, name: str) -> Object:
        if not self.context.facts.virtual_ips:
            return {}
        address = self.registry.addresses.of(name)
        return {"AutoVirtualIPs": [address] if address else None, "ManualVirtualIPs": [] if address else None}

    @staticmethod
    def _overrides(request: ConsulRequest) -> Overrides:
        value = request.json("Request decoding failed: ")
        if value is not None and not is_object(value):
            words = f"json: cannot unmarshal {go_type(value)} into Go value of type map[string]interface {{}}"
            raise request.bad(f"Request decoding failed: {words}")
        try:
            body = decode_known(value or {}, _OVERRIDES, request.facts.version)
        except DecodeError as error:
            raise request.bad(f"Request decoding failed: {error}") from error
        mode = text(child(body, "OverrideMeshGateway"), "Mode")
        if mode not in _MODES:
            raise Refused(400, "Invalid OverrideMeshGateway.Mode parameter")
        timeout = text(body, "OverrideConnectTimeout")
        return Overrides(
            gateway_mode=mode,
            protocol=text(body, "OverrideProtocol"),
            connect_timeout="" if timeout.startswith("-") else timeout,
        )

    async def exported(self, request: ConsulRequest) -> Reply:
        """Answer with the services that peers may use (`GET /v1/exported-services`, Consul 1.17.3)."""
        request.read_options(besides=[])
        request.partition_options()
        context = self.context

        def query() -> Found[list[Object]]:
            who = context.acl.resolve(request.token)
            context.acl.require(who, "mesh", "read")
            entry = context.store.entry("exported-services", "default") or {}
            plain = {each.name for each in self.registry.all() if not text(each.definition, "Kind")}
            peers: dict[str, set[str]] = {}
            whole = any(text(service, "Name") == "*" for service in children(entry, "Services"))
            for service in children(entry, "Services"):
                for name in plain if text(service, "Name") == "*" else [text(service, "Name")]:
                    peers.setdefault(name, set()).update(_peers(service))
            rows: list[Object] = [
                {"Service": name, "Consumers": {"Peers": sorted(peers[name])} if peers[name] else {}}
                for name in sorted(peers)
            ]
            entries = context.store.watch(entry_key("exported-services", "default"))
            names = ("names",) if whole else ()
            return Found(rows, context.store.touched("config", *names), (entries, *names))

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found))


def _peers(service: Object) -> list[str]:
    return [peer for each in children(service, "Consumers") if (peer := text(each, "Peer"))]

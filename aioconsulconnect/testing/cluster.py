"""Cluster of one node: the state behind an in-process agent, and the handlers of its API."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.acl.named import Policies, Roles
from aioconsulconnect.testing.handlers.acl.tokens import Tokens
from aioconsulconnect.testing.handlers.agent_self import System
from aioconsulconnect.testing.handlers.catalog import Catalog
from aioconsulconnect.testing.handlers.certificates import Certificates
from aioconsulconnect.testing.handlers.config import Entries
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.handlers.discovery_chain import Chains
from aioconsulconnect.testing.handlers.intentions import Intentions
from aioconsulconnect.testing.handlers.services import CheckRegistration, Services
from aioconsulconnect.testing.handlers.tables.keys import Keys
from aioconsulconnect.testing.handlers.tables.node_health import NodeHealth
from aioconsulconnect.testing.handlers.tables.nodes import Nodes
from aioconsulconnect.testing.handlers.tables.registrations import Registrations
from aioconsulconnect.testing.server.routes import Handlers, Route, build_table
from aioconsulconnect.testing.state import acl as acl_system, authority as ca, store as storage
from aioconsulconnect.testing.state.acl import Acl
from aioconsulconnect.testing.state.authority import Authority
from aioconsulconnect.testing.state.gateway_controller import Controller
from aioconsulconnect.testing.state.intention_store import IntentionStore, intention_store_of
from aioconsulconnect.testing.state.service_registry import Node, Registry
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.state.table_intentions import TableIntentionStore
from aioconsulconnect.testing.state.tables import keys as keys_table, nodes as nodes_table
from aioconsulconnect.testing.state.tables.keys import KeyTable
from aioconsulconnect.testing.state.tables.nodes import NodeTable, own_node
from aioconsulconnect.testing.version_facts import VersionFacts

Policy = Literal["allow", "deny"]


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """The state of an in-process agent at one moment: `Agent.snapshot` makes it, `Agent.restore` takes it.

    It can be restored to the same agent or to another one of the same version. Its fields are internal to the agents:

    - `version`: the version that was played.
    - `store`: the index of each table, and the configuration entries.
    - `acl`: the policies and tokens.
    - `authority`: the roots and the configuration of the CA; no leaf certificates.
    - `intentions`: the table of intentions in 1.8; empty for newer versions, which keep them as configuration entries.
    - `nodes`: the other nodes of the catalog, with their services and checks.
    - `keys`: the store of keys.
    """

    version: str
    store: storage.State
    acl: acl_system.State
    authority: ca.State
    intentions: dict[str, Object]
    nodes: nodes_table.State
    keys: keys_table.State


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Settings of a cluster.

    `cluster` is the first part of the trust domain and `node_id` the id of the node, None for a new one; `connect` is
    false where Connect is disabled.
    """

    facts: VersionFacts
    acl: bool
    default_policy: Policy
    datacenter: str
    node_name: str
    node_id: str | None
    node_meta: Mapping[str, str]
    management_token: str = field(repr=False)
    cluster: str | None
    connect: bool


class Cluster:
    """A new and empty cluster of one node, made with `settings`.

    `context` is what all handlers share, `table` has the routes to them, `registry` the services and `intentions` the
    intentions.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        facts = settings.facts
        tables = {"config": facts.first_entries_index, "roots": 9, "nodes": 12, "services": 11, "checks": 11}
        tables |= {"acl/policy": 4, "acl/token": 7}
        tables[f"nodes/{settings.node_name.lower()}"] = 12
        store = Store(12, tables)
        definition = own_node(
            facts,
            settings.node_name,
            settings.node_id or str(uuid.uuid4()),
            datacenter=settings.datacenter,
            meta=settings.node_meta,
        )
        node = Node(definition, 11, 12)
        self.context: AgentContext = AgentContext(
            facts,
            store,
            Acl(
                facts,
                enabled=settings.acl,
                default=settings.default_policy,
                management_token=settings.management_token,
                datacenter=settings.datacenter,
            ),
            Authority(store, facts, settings.datacenter, settings.cluster),
            settings.datacenter,
            node.definition,
            settings.connect,
        )
        context = self.context
        self.intentions: IntentionStore = intention_store_of(store, facts)
        self.registry: Registry = Registry(store, facts, node)
        self._nodes, self._keys = NodeTable(self.registry), KeyTable(store)
        entries = Entries(context)
        Controller(store, facts)
        handlers = Handlers(
            intentions=Intentions(context, self.intentions),
            certificates=Certificates(context, self.intentions),
            config=entries,
            services=Services(context, self.registry),
            checks=CheckRegistration(context, self.registry),
            catalog=Catalog(context, self.registry, entries.graph),
            chains=Chains(context, self.registry, entries.graph),
            policies=Policies(context),
            roles=Roles(context),
            tokens=Tokens(context),
            system=System(context),
            registrations=Registrations(context, self._nodes),
            nodes=Nodes(context, self.registry),
            node_health=NodeHealth(context, self.registry),
            keys=Keys(context, self._keys),
        )
        self.table: tuple[Route, ...] = build_table(handlers)

    def open(self) -> None:
        """Let queries wait and checks run."""
        self.context.store.open()
        self.registry.open()

    async def close(self) -> None:
        """End the queries that wait, and the checks; forget what the agent itself keeps in memory."""
        self.context.store.close()
        await self.registry.close()
        self.context.cache.clear()
        self.context.forget_cache()
        self.context.authority.forget_leaves()

    def snapshot(self) -> Snapshot:
        """Copy what the servers keep."""
        rows = self.intentions.state() if isinstance(self.intentions, TableIntentionStore) else {}
        return Snapshot(
            self.context.facts.version,
            self.context.store.state(),
            self.context.acl.state(),
            self.context.authority.state(),
            rows,
            self._nodes.state(),
            self._keys.state(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Replace what the servers keep by that of `snapshot`; ValueError for one of another version."""
        if snapshot.version != self.context.facts.version:
            raise ValueError(f"a snapshot of {snapshot.version} cannot be restored to {self.context.facts.version}")
        self.context.forget_cache()
        self.context.store.load(snapshot.store)
        self.context.acl.load(snapshot.acl)
        self.context.authority.load(snapshot.authority)
        if isinstance(self.intentions, TableIntentionStore):
            self.intentions.load(snapshot.intentions)
        self._nodes.load(snapshot.nodes)
        self._keys.load(snapshot.keys)
        self.registry.refresh()

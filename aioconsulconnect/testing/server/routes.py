"""The table of every path that the agent serves.

A pattern that ends in a slash takes whatever follows. `since` and `until` name the first and the last version that has
the path; in other versions the next shorter pattern takes it, as in Consul, or it is an unknown path.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aioconsulconnect.testing.handlers.acl.named import Policies, Roles
from aioconsulconnect.testing.handlers.acl.tokens import Tokens
from aioconsulconnect.testing.handlers.agent_self import System
from aioconsulconnect.testing.handlers.catalog import Catalog
from aioconsulconnect.testing.handlers.certificates import Certificates
from aioconsulconnect.testing.handlers.config import Entries
from aioconsulconnect.testing.handlers.discovery_chain import Chains
from aioconsulconnect.testing.handlers.intentions import Intentions
from aioconsulconnect.testing.handlers.services import CheckRegistration, Services
from aioconsulconnect.testing.handlers.tables.keys import Keys
from aioconsulconnect.testing.handlers.tables.node_health import NodeHealth
from aioconsulconnect.testing.handlers.tables.nodes import Nodes
from aioconsulconnect.testing.handlers.tables.registrations import Registrations
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.version_facts import VersionFacts
from aioconsulconnect.testing.versions import OLDEST, spans

Handler = Callable[[ConsulRequest], Awaitable[Reply]]
AUTHORIZE: Final = "/v1/agent/connect/authorize"


@dataclass(frozen=True, slots=True)
class Route:
    """A pattern of paths, with a handler for each of its methods.

    - `blocks`: true if it takes blocking queries.
    - `since`, `until`: the first and the last version that has it; by default all versions do.
    """

    pattern: str
    handlers: Mapping[str, Handler]
    """The handler of each method, in the order in which the Allow header names them."""
    rights: str = ""
    """The rights that a token needs, for the reader; handlers check them, as the order of checks differs."""
    blocks: bool = False
    since: str = OLDEST
    until: str = ""
    false_index: bool = False
    """True if refusals of reads by the server carry an index of 1."""
    false_index_until: str = ""
    """The last version in which refusals carry an index of 1; empty for no end."""
    since_meta: str = OLDEST
    """The first version whose answers have the headers of a read."""


_UNMODELLED_BELOW: Final = (
    (
        "acl",
        "auth-method auth-method/ auth-methods binding-rule binding-rule/ binding-rules login logout replication",
        OLDEST,
        "",
    ),
    ("acl", "list create update destroy/ info/ clone/ rules/translate rules/translate/", OLDEST, "1.10"),
    ("acl", "templated-policies templated-policy/name/ templated-policy/preview/", "1.17", ""),
    ("agent", "force-leave/ host join/ leave metrics monitor reload token/", OLDEST, ""),
    ("agent", "metrics/stream", "1.11", ""),
    ("coordinate", "datacenters node/ update", OLDEST, ""),
    ("event", "fire/ list", OLDEST, ""),
    ("internal", "acl/authorize federation-state/ federation-states federation-states/mesh-gateways", OLDEST, ""),
    ("internal/ui", "nodes node/ services gateway-services-nodes/", OLDEST, ""),
    ("internal/ui", "gateway-intentions/ service-topology/ metrics-proxy/", "1.9", ""),
    ("internal", "service-virtual-ip ui/catalog-overview ui/exported-services", "1.16", ""),
    ("operator", "autopilot/configuration autopilot/health keyring raft/configuration raft/peer", OLDEST, ""),
    ("operator", "autopilot/state", "1.9", ""),
    ("operator", "raft/transfer-leader usage", "1.16", ""),
    ("peering", "/", "1.13", ""),
    ("query", "/", OLDEST, ""),
    ("session", "create destroy/ info/ list node/ renew/", OLDEST, ""),
)
UNMODELLED: Final = (
    *(
        (f"/v1/{where}/{path}".replace("//", "/"), since, until)
        for where, paths, since, until in _UNMODELLED_BELOW
        for path in paths.split()
    ),
    ("/v1/query", OLDEST, ""),
    ("/v1/snapshot", OLDEST, ""),
    ("/v1/txn", OLDEST, ""),
    ("/ui/", OLDEST, ""),
    ("/debug/pprof/", OLDEST, ""),
    ("/robots.txt", OLDEST, ""),
)
"""The paths of Consul, with their first and last version, that the agent does not model and answers with 501."""

_OF_CONNECT: Final = ("/v1/connect/ca/", "/v1/agent/connect/ca/", "/v1/discovery-chain/")
_OF_INTENTIONS: Final = ("/v1/connect/intentions", AUTHORIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """The handlers of one agent, by part of the API."""

    intentions: Intentions
    certificates: Certificates
    config: Entries
    services: Services
    checks: CheckRegistration
    catalog: Catalog
    chains: Chains
    policies: Policies
    roles: Roles
    tokens: Tokens
    system: System
    registrations: Registrations
    nodes: Nodes
    node_health: NodeHealth
    keys: Keys


def build_table(of: Handlers) -> tuple[Route, ...]:
    """Make the table of routes for the handlers of one agent."""
    intentions, certificates, config = of.intentions, of.certificates, of.config
    return (
        Route(
            "/v1/connect/intentions",
            {"GET": intentions.list, "POST": intentions.create},
            rights="list is filtered; create: intention:write on the destination",
            blocks=True,
            false_index=True,
        ),
        Route(
            "/v1/connect/intentions/match",
            {"GET": intentions.match},
            rights="intention:read on every name",
            blocks=True,
            false_index=True,
            since_meta="1.9",
        ),
        Route("/v1/connect/intentions/check", {"GET": intentions.check}, rights="service:read on the destination"),
        Route(
            "/v1/connect/intentions/exact",
            {"GET": intentions.read_exact, "PUT": intentions.put_exact, "DELETE": intentions.delete_exact},
            rights="intention:read on either side; intention:write on the destination",
            blocks=True,
            since="1.9",
        ),
        Route(
            "/v1/connect/intentions/",
            {"GET": intentions.read, "PUT": intentions.update, "DELETE": intentions.delete},
            rights="as by name",
        ),
        Route("/v1/connect/ca/roots", {"GET": certificates.roots}, blocks=True, false_index=True),
        Route(
            "/v1/connect/ca/configuration",
            {"GET": certificates.configuration, "PUT": certificates.configure},
            rights="operator:write",
        ),
        Route("/v1/agent/connect/ca/roots", {"GET": certificates.agent_roots}, blocks=True),
        Route("/v1/agent/connect/ca/leaf/", {"GET": certificates.leaf}, rights="service:write", blocks=True),
        Route("/v1/agent/connect/authorize", {"POST": certificates.authorize}, rights="service:write, intention:read"),
        Route("/v1/config", {"PUT": config.put}, rights="intention:write, service:write or mesh:write"),
        Route(
            "/v1/config/",
            {"GET": config.get, "DELETE": config.delete},
            rights="intention:read or service:read; proxy-defaults is free",
            blocks=True,
        ),
        *service_routes(of.services, of.checks),
        *catalog_routes(of.catalog),
        *table_routes(of),
        Route(
            "/v1/discovery-chain/",
            {"GET": of.chains.chain, "POST": of.chains.chain},
            rights="service:read",
            blocks=True,
            false_index=True,
        ),
        Route("/v1/exported-services", {"GET": of.chains.exported}, rights="mesh:read", blocks=True, since="1.17.3"),
        Route("/v1/agent/self", {"GET": of.system.self}, rights="agent:read"),
        Route("/v1/agent/members", {"GET": of.system.members}, rights="filtered by node:read"),
        Route("/v1/agent/version", {"GET": of.system.version}, since="1.11"),
        Route("/v1/peerings", {"GET": of.system.peerings}, rights="peering:read", blocks=True, since="1.13"),
        Route(
            "/v1/coordinate/nodes",
            {"GET": of.system.coordinates},
            rights="filtered by node:read",
            blocks=True,
            false_index=True,
        ),
        Route("/v1/status/leader", {"GET": of.system.leader}),
        Route("/v1/status/peers", {"GET": of.system.peers}),
        *acl_routes(of.policies, of.roles, of.tokens),
    )


def acl_routes(policies: Policies, roles: Roles, tokens: Tokens) -> tuple[Route, ...]:
    """Make the routes of the handlers `policies`, `roles` and `tokens`."""
    read, write = "acl:read", "acl:write"
    kinds = (("policy", "policies", policies), ("role", "roles", roles), ("token", "tokens", tokens))
    return (
        *(Route(f"/v1/acl/{kind}", {"PUT": of.put}, rights=write) for kind, _, of in kinds),
        *(
            Route(f"/v1/acl/{kind}/", {"GET": of.read, "PUT": of.put, "DELETE": of.delete}, "acl", false_index=True)
            for kind, _, of in kinds
        ),
        *(Route(f"/v1/acl/{several}", {"GET": of.list}, rights=read, false_index=True) for _, several, of in kinds),
        Route("/v1/acl/policy/name/", {"GET": policies.read_by_name}, rights=read, false_index=True),
        Route("/v1/acl/role/name/", {"GET": roles.read_by_name}, rights=read, false_index=True),
        Route("/v1/acl/token/self", {"GET": tokens.self}, false_index=True),
        Route("/v1/acl/bootstrap", {"PUT": tokens.bootstrap}),
    )


def service_routes(services: Services, checks: CheckRegistration) -> tuple[Route, ...]:
    """Make the routes of the handlers `services` and `checks`, which register and report."""
    write = "service:write on the service; a sidecar and a proxy's destination too"
    return (
        Route("/v1/agent/services", {"GET": services.services}, rights="filtered by service:read"),
        Route("/v1/agent/checks", {"GET": services.checks}, rights="filtered by service:read"),
        Route("/v1/agent/service/", {"GET": services.service}, rights="service:read", blocks=True),
        Route("/v1/agent/service/register", {"PUT": services.register}, rights=write),
        Route("/v1/agent/service/deregister/", {"PUT": services.deregister}, rights=write),
        Route("/v1/agent/service/maintenance/", {"PUT": services.maintenance}, rights=write),
        Route("/v1/agent/check/register", {"PUT": checks.register}, rights=write),
        Route("/v1/agent/check/deregister/", {"PUT": checks.deregister}, rights=write),
        Route("/v1/agent/check/pass/", {"PUT": services.passing}, rights=write),
        Route("/v1/agent/check/warn/", {"PUT": services.warning}, rights=write),
        Route("/v1/agent/check/fail/", {"PUT": services.failing}, rights=write),
        Route("/v1/agent/check/update/", {"PUT": services.update}, rights=write),
    )


def catalog_routes(catalog: Catalog) -> tuple[Route, ...]:
    """Make the routes that say where services are and how healthy they are."""
    health = (
        ("connect", catalog.healthy_connect),
        ("service", catalog.healthy_service),
        ("ingress", catalog.healthy_ingress),
    )
    read = "service:read and node:read; filtered"
    return (
        Route("/v1/catalog/nodes", {"GET": catalog.nodes}, "node:read; filtered", blocks=True, false_index=True),
        Route("/v1/catalog/services", {"GET": catalog.services}, rights=read, blocks=True, false_index=True),
        Route("/v1/catalog/service/", {"GET": catalog.service}, rights=read, blocks=True, false_index=True),
        Route("/v1/catalog/connect/", {"GET": catalog.connect}, rights=read, blocks=True, false_index=True),
        Route("/v1/catalog/gateway-services/", {"GET": catalog.gateway_services}, blocks=True, false_index=True),
        Route("/v1/health/checks/", {"GET": catalog.checks}, rights=read, blocks=True, false_index=True),
        *(
            Route(f"/v1/health/{kind}/", {"GET": handler}, read, blocks=True, false_index=True, false_index_until="1.8")
            for kind, handler in health
        ),
    )


def table_routes(of: Handlers) -> tuple[Route, ...]:
    """Make the routes of the parts beside Connect: nodes, the agent's own node, and keys."""
    nodes, own, keys = of.nodes, of.node_health, of.keys
    write = "node:write on the node, service:write on the service"
    reads = (
        ("/v1/catalog/node/", nodes.node),
        ("/v1/catalog/node-services/", nodes.node_services),
        ("/v1/health/node/", nodes.checks),
        ("/v1/health/state/", nodes.state),
    )
    return (
        Route("/v1/catalog/register", {"PUT": of.registrations.register}, write),
        Route("/v1/catalog/deregister", {"PUT": of.registrations.deregister}, write),
        Route("/v1/catalog/datacenters", {"GET": nodes.datacenters}),
        *(
            Route(path, {"GET": handler}, "node:read and service:read; filtered", blocks=True, false_index=True)
            for path, handler in reads
        ),
        Route("/v1/agent/maintenance", {"PUT": own.maintenance}, "node:write"),
        Route("/v1/agent/health/service/id/", {"GET": own.by_id}, "service:read"),
        Route("/v1/agent/health/service/name/", {"GET": own.by_name}, "service:read"),
        Route("/v1/kv/", {"GET": keys.get, "PUT": keys.put, "DELETE": keys.delete}, "key:read, key:write", blocks=True),
    )


def find_route(table: Iterable[Route], path: str, version: str) -> Route | None:
    """The route in `table` of `version` with the longest pattern that fits `path`; None where none does."""
    fitting = (route for route in table if spans(version, route.since, route.until) and fits(route.pattern, path))
    return max(fitting, key=lambda route: len(route.pattern), default=None)


def lacks_slash(table: Iterable[Route], path: str, version: str) -> bool:
    """True if Go adds a slash to `path`: there is a pattern with it and none without it.

    The patterns are those in `table` that `version` has.
    """
    patterns = {route.pattern for route in table if spans(version, route.since, route.until)}
    return path not in patterns and f"{path}/" in patterns


def needs_connect(pattern: str, facts: VersionFacts) -> bool:
    """True if the route of `pattern` is refused where Connect is not enabled; `facts` is the version."""
    entries = _OF_INTENTIONS if facts.intentions_are_entries else ()
    return pattern.startswith((*_OF_CONNECT, *entries))


def is_unmodelled(path: str, version: str) -> bool:
    """True if Consul serves `path` in `version` and the in-process agent does not."""
    return any(
        spans(version, since, until) and (fits(pattern, path) or pattern == f"{path}/")
        for pattern, since, until in UNMODELLED
    )


def fits(pattern: str, path: str) -> bool:
    """True if `pattern` takes `path`."""
    return path.startswith(pattern) if pattern.endswith("/") else path == pattern

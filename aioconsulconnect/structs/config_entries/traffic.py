"""Config entries about where requests go: service-resolver, service-router, service-splitter."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.defaults import FailoverPolicy, PrioritizeByLocality
from aioconsulconnect.structs.config_entries.entry import NamedEntry


class HeaderModifiers(Part, frozen=True, kw_only=True):
    """Headers to add, set and remove."""

    add: NullAsEmpty[Mapping[str, str]] = {}
    set: NullAsEmpty[Mapping[str, str]] = {}
    remove: NullAsEmpty[tuple[str, ...]] = ()


class Subset(Part, frozen=True, kw_only=True):
    """Some instances of a service: those that `filter` selects (all when empty)."""

    filter: str = ""
    only_passing: bool = False


class Redirect(Part, frozen=True, kw_only=True):
    """Another service in place of this one. `peer` needs Consul 1.14."""

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    peer: str = ""
    sameness_group: str = ""


class FailoverTarget(Part, frozen=True, kw_only=True):
    """One place to go to when no instance is healthy."""

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    peer: str = ""


class Failover(Part, frozen=True, kw_only=True):
    """Where to go when no instance is healthy. `targets` (Consul 1.14) excludes the others."""

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    datacenters: NullAsEmpty[tuple[str, ...]] = ()
    targets: NullAsEmpty[tuple[FailoverTarget, ...]] = ()
    policy: FailoverPolicy | None = None
    sameness_group: str = ""


class RingHashConfig(Part, frozen=True, kw_only=True):
    """Of the policies "ring_hash" and "maglev"."""

    minimum_ring_size: int = 0
    maximum_ring_size: int = 0


class LeastRequestConfig(Part, frozen=True, kw_only=True):
    """Of the policy "least_request"."""

    choice_count: int = 0


class CookieConfig(Part, frozen=True, kw_only=True):
    """A cookie to hash by; `ttl` in seconds."""

    session: bool = False
    ttl: Seconds | None = None
    path: str = ""


class HashPolicy(Part, frozen=True, kw_only=True):
    """What to hash: `field` "header", "cookie" or "query_parameter" with `field_value` its name; or `source_ip`."""

    field: str = ""
    field_value: str = ""
    cookie_config: CookieConfig | None = None
    source_ip: bool = False
    terminal: bool = False


class LoadBalancer(Part, frozen=True, kw_only=True):
    """How instances are chosen (Consul 1.9): "random", "round_robin", "least_request", "ring_hash", "maglev"."""

    policy: str = ""
    ring_hash_config: RingHashConfig | None = None
    least_request_config: LeastRequestConfig | None = None
    hash_policies: NullAsEmpty[tuple[HashPolicy, ...]] = ()


class ServiceResolver(NamedEntry, frozen=True, kw_only=True, tag="service-resolver"):
    """
    Which instances stand behind a name; timeouts in seconds.

    `request_timeout` needs Consul 1.14, `prioritize_by_locality` 1.16.
    """

    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    default_subset: str = ""
    subsets: NullAsEmpty[Mapping[str, Subset]] = {}
    redirect: Redirect | None = None
    failover: NullAsEmpty[Mapping[str, Failover]] = {}
    prioritize_by_locality: PrioritizeByLocality | None = None
    load_balancer: LoadBalancer | None = None


class RouteHeaderMatch(Part, frozen=True, kw_only=True):
    """A header to match: one of the conditions."""

    name: str = ""
    present: bool = False
    exact: str = ""
    prefix: str = ""
    suffix: str = ""
    regex: str = ""
    invert: bool = False


class RouteQueryParamMatch(Part, frozen=True, kw_only=True):
    """A parameter of the query to match: one of the conditions."""

    name: str = ""
    present: bool = False
    exact: str = ""
    regex: str = ""


class RouteHTTPMatch(Part, frozen=True, kw_only=True):
    """What a request must look like; all that is given must match. `case_insensitive` needs Consul 1.20."""

    path_exact: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    case_insensitive: bool = False
    header: NullAsEmpty[tuple[RouteHeaderMatch, ...]] = ()
    query_param: NullAsEmpty[tuple[RouteQueryParamMatch, ...]] = ()
    methods: NullAsEmpty[tuple[str, ...]] = ()


class RouteMatch(Part, frozen=True, kw_only=True):
    """Which requests take a route; without `http` all."""

    http: RouteHTTPMatch | None = None


class RouteDestination(Part, frozen=True, kw_only=True):
    """Where a request goes, and how; timeouts in seconds. `idle_timeout` and `retry_on` need Consul 1.14."""

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    prefix_rewrite: str = ""
    request_timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    num_retries: int = 0
    retry_on: NullAsEmpty[tuple[str, ...]] = ()
    retry_on_connect_failure: bool = False
    retry_on_status_codes: NullAsEmpty[tuple[int, ...]] = ()
    request_headers: HeaderModifiers | None = None
    response_headers: HeaderModifiers | None = None


class Route(Part, frozen=True, kw_only=True):
    """One route; the first that matches is taken."""

    match: RouteMatch | None = None
    destination: RouteDestination | None = None


class ServiceRouter(NamedEntry, frozen=True, kw_only=True, tag="service-router"):
    """Which requests to a service go elsewhere; its protocol must be HTTP."""

    routes: NullAsEmpty[tuple[Route, ...]] = ()


class Split(Part, frozen=True, kw_only=True):
    """A share of the requests in percent."""

    weight: float = 0.0
    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    request_headers: HeaderModifiers | None = None
    response_headers: HeaderModifiers | None = None


class ServiceSplitter(NamedEntry, frozen=True, kw_only=True, tag="service-splitter"):
    """How the requests to a service are shared out; its protocol must be HTTP, and the weights make 100."""

    splits: NullAsEmpty[tuple[Split, ...]] = ()

"""Structs of config entries about traffic: service-resolver, service-router, service-splitter."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.defaults import FailoverPolicy, PrioritizeByLocality
from aioconsulconnect.structs.config_entries.entry import NamedEntry


class HeaderModifiers(Part, frozen=True, kw_only=True):
    """Headers to `add`, to `set` (in place of the same ones) and to `remove`."""

    add: NullAsEmpty[Mapping[str, str]] = {}
    set: NullAsEmpty[Mapping[str, str]] = {}
    remove: NullAsEmpty[tuple[str, ...]] = ()


class Subset(Part, frozen=True, kw_only=True):
    """
    Subset of a service's instances.

    - `filter`: expression that selects them, such as `Service.Meta.version == "v1"`; empty for all.
    - `only_passing`: True to leave out instances whose checks are in "warning".
    """

    filter: str = ""
    only_passing: bool = False


class Redirect(Part, frozen=True, kw_only=True):
    """
    Service that takes the place of this one.

    - `service`, `service_subset`, `namespace`, `partition`, `datacenter`: the other service; what is empty stays as it
      is. A subset or namespace needs a `service`.
    - `peer`: peer of the service (Consul 1.14).
    - `sameness_group`: Consul Enterprise (1.16).
    """

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    peer: str = ""
    sameness_group: str = ""


class FailoverTarget(Part, frozen=True, kw_only=True):
    """Target to try when no instance is healthy; what is empty is that of the service itself."""

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    peer: str = ""


class Failover(Part, frozen=True, kw_only=True):
    """
    Targets to try when no instance is healthy.

    - `service`, `service_subset`, `namespace`: another service or subset; what is empty stays as it is.
    - `datacenters`: datacenters to try, in that order.
    - `targets`: targets to try, in that order (Consul 1.14), instead of all other fields but `policy`.
    - `policy`: order of the targets (Consul 1.16, Enterprise).
    - `sameness_group`: Consul Enterprise (1.16).
    """

    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    datacenters: NullAsEmpty[tuple[str, ...]] = ()
    targets: NullAsEmpty[tuple[FailoverTarget, ...]] = ()
    policy: FailoverPolicy | None = None
    sameness_group: str = ""


class RingHashConfig(Part, frozen=True, kw_only=True):
    """
    Settings of the policy "ring_hash".

    `minimum_ring_size` and `maximum_ring_size` bound the number of entries in the ring.
    """

    minimum_ring_size: int = 0
    maximum_ring_size: int = 0


class LeastRequestConfig(Part, frozen=True, kw_only=True):
    """
    Setting of the policy "least_request".

    `choice_count` is the number of random instances of which the least busy one is chosen.
    """

    choice_count: int = 0


class CookieConfig(Part, frozen=True, kw_only=True):
    """
    Cookie that requests are hashed by.

    - `session`: True for a cookie that ends with the session.
    - `ttl`: lifetime of the cookie, in seconds.
    - `path`: path of the cookie.
    """

    session: bool = False
    ttl: Seconds | None = None
    path: str = ""


class HashPolicy(Part, frozen=True, kw_only=True):
    """
    Part of a request to hash, so that the same value leads to the same instance.

    - `field`, `field_value`: "header", "cookie" or "query_parameter", and its name.
    - `cookie_config`: settings of the cookie.
    - `source_ip`: True to hash the address of the client instead.
    - `terminal`: True to leave out the policies that follow if this one found something to hash.
    """

    field: str = ""
    field_value: str = ""
    cookie_config: CookieConfig | None = None
    source_ip: bool = False
    terminal: bool = False


class LoadBalancer(Part, frozen=True, kw_only=True):
    """
    Choice among the instances of a service (Consul 1.9).

    - `policy`: "random", "round_robin", "least_request", "ring_hash" or "maglev".
    - `ring_hash_config`, `least_request_config`: settings of these policies.
    - `hash_policies`: parts of a request to hash, for "ring_hash" and "maglev".
    """

    policy: str = ""
    ring_hash_config: RingHashConfig | None = None
    least_request_config: LeastRequestConfig | None = None
    hash_policies: NullAsEmpty[tuple[HashPolicy, ...]] = ()


class ServiceResolver(NamedEntry, frozen=True, kw_only=True, tag="service-resolver"):
    """
    Instances behind the name of a service (kind service-resolver).

    - `connect_timeout`, `request_timeout` (Consul 1.14): seconds.
    - `default_subset`, `subsets`: subset to take where none is named, and all subsets by name.
    - `redirect`: another service in place of this one; not together with `failover`.
    - `failover`: targets to try when no instance is healthy, by subset; `*` is for all other subsets.
    - `prioritize_by_locality`: preference for near instances (Consul 1.16, Enterprise).
    - `load_balancer`: choice among the instances (Consul 1.9).
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
    """
    Condition on a request header; give one of the conditions.

    - `name`: name of the header.
    - `present`: True if the header only has to be there.
    - `exact`, `prefix`, `suffix`, `regex`: text that its value must match.
    - `invert`: True to match where the condition does not hold.
    """

    name: str = ""
    present: bool = False
    exact: str = ""
    prefix: str = ""
    suffix: str = ""
    regex: str = ""
    invert: bool = False


class RouteQueryParamMatch(Part, frozen=True, kw_only=True):
    """
    Condition on a query parameter; give one of the conditions.

    - `name`: name of the parameter.
    - `present`: True if the parameter only has to be there.
    - `exact`, `regex`: text that its value must match.
    """

    name: str = ""
    present: bool = False
    exact: str = ""
    regex: str = ""


class RouteHTTPMatch(Part, frozen=True, kw_only=True):
    """
    Condition on a request: everything that is given must match.

    - `path_exact`, `path_prefix`, `path_regex`: the path; at most one of them.
    - `case_insensitive`: True to compare the path without case (Consul 1.20).
    - `header`, `query_param`: conditions on headers and query parameters.
    - `methods`: methods of which the request has one.
    """

    path_exact: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    case_insensitive: bool = False
    header: NullAsEmpty[tuple[RouteHeaderMatch, ...]] = ()
    query_param: NullAsEmpty[tuple[RouteQueryParamMatch, ...]] = ()
    methods: NullAsEmpty[tuple[str, ...]] = ()


class RouteMatch(Part, frozen=True, kw_only=True):
    """Condition on the requests that take a route; without `http` all do."""

    http: RouteHTTPMatch | None = None


class RouteDestination(Part, frozen=True, kw_only=True):
    """
    Destination of a route, and how requests are sent there.

    - `service`, `service_subset`, `namespace`, `partition`: the destination; what is empty is that of the router's own
      service.
    - `prefix_rewrite`: replaces the path that `path_exact` or `path_prefix` matched, one of which must be given.
    - `request_timeout`, `idle_timeout` (Consul 1.14): seconds.
    - `num_retries`: number of retries.
    - `retry_on` (Consul 1.14), `retry_on_connect_failure`, `retry_on_status_codes`: conditions of Envoy, failures to
      connect and HTTP statuses after which a request is retried.
    - `request_headers`, `response_headers`: headers to add, set and remove.
    """

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
    """Route of a router: the first whose `match` fits the request is taken, to its `destination`."""

    match: RouteMatch | None = None
    destination: RouteDestination | None = None


class ServiceRouter(NamedEntry, frozen=True, kw_only=True, tag="service-router"):
    """Routes of the requests to a service (kind service-router); its protocol must be HTTP."""

    routes: NullAsEmpty[tuple[Route, ...]] = ()


class Split(Part, frozen=True, kw_only=True):
    """
    Share of the requests to a service, and where it goes.

    - `weight`: share in percent; Consul rounds it to two decimals.
    - `service`, `service_subset`, `namespace`, `partition`: the destination; what is empty is that of the splitter's
      own service.
    - `request_headers`, `response_headers`: headers to add, set and remove.
    """

    weight: float = 0.0
    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    request_headers: HeaderModifiers | None = None
    response_headers: HeaderModifiers | None = None


class ServiceSplitter(NamedEntry, frozen=True, kw_only=True, tag="service-splitter"):
    """
    Shares of the requests to a service (kind service-splitter); its protocol must be HTTP.

    The weights of the `splits` must add up to 100.
    """

    splits: NullAsEmpty[tuple[Split, ...]] = ()

"""The versions of Consul that the in-process agent plays, and the named facts in which they differ.

The rest of the package asks for a fact of `VersionFacts`, never for a version. Fields, routes and kinds that came or
went name the first version that has them (`since`) or the last one (`until`) in their own tables; any version may stand
there, such as "1.13" or "1.16.4". To play another version, add it to `Version`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal, get_args

Version = Literal["1.8", "1.10", "1.16", "1.22"]
"""The versions that an agent can play, oldest first: the only list of them."""
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
OLDEST: Final = VERSIONS[0]
NEWEST: Final = VERSIONS[-1]
_RELEASES: Final = {"1.8": "1.8.7", "1.10": "1.10.12", "1.16": "1.16.6"}
"""The release that an agent of a version plays, where that is not the first one."""


def release_of(version: str) -> str:
    """The full release that an agent of `version` plays, such as 1.16.6 for 1.16."""
    return _RELEASES.get(version, f"{version}.0")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@cache
def spans(version: str, since: str, until: str = "") -> bool:
    """True if the release of `version` lies between `since` and `until`, both included.

    An `until` of "1.10" includes every release of 1.10; an empty one sets no end.
    """
    release, first, last = _numbers(release_of(version)), _numbers(since), _numbers(until) if until else ()
    return first <= release and release[: len(last)] <= last


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """The facts in which versions of Consul differ; the defaults are those of the newest version."""

    version: str
    """The short name, one of `VERSIONS`."""
    release: str
    """The full version that the agent reports."""
    # HTTP
    bad_request_prefix: str = ""
    """The beginning of the text of a 400."""
    newline_after_json: bool = False
    empty_body_type: str | None = "application/json"
    """The Content-Type of a write's empty answer; None sends no such header."""
    gzip_from: int = 1400
    """The least number of bytes that are compressed for a client that accepts gzip."""
    unknown_path_text: str = "Invalid URL path: not a recognized HTTP API endpoint\n"
    outside_v1_text: str = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
    redirect_status: int = 307
    redirects_escaped: bool = False
    """True if a redirect cleans away the slashes and dots that are escaped in a path too."""
    default_policy_header: bool = True
    query_backend_header: bool = True
    filtered_header: bool = True
    partition_parameter: bool = True
    """True if a partition, and headers for partition and namespace, are refused and not ignored."""
    intentions_take_namespace: bool = False
    """True if intentions ignore a namespace parameter instead of refusing it."""
    datacenter_parameter: bool = True
    """True if the parameter `datacenter` means what `dc` means."""
    semicolon_separates: bool = False
    """True if a semicolon separates parameters; elsewhere it makes a query malformed."""
    says_too_many: bool = True
    """True if a connection beyond the limit is answered by 429, false if it is reset."""
    alias_struct: str = ".Alias"
    """Go's name for the struct in the error about a member of the wrong type."""
    decoders_join_paths: bool = True
    """True if that error names the whole path where a struct within the path has a decoder of its own."""
    # intentions
    intentions_are_entries: bool = True
    writes_go_to_primary: bool = True
    """True if a write of an intention ignores the datacenter in its request."""
    match_has_meta: bool = True
    """True if match sends the headers of a read and uses the agent's cache."""
    name_parts: int = 3
    """The most parts, separated by slashes, of a name in a query parameter."""
    permission_reasons: bool = True
    """True if a denial names the token and the missing permission."""
    post_needs_destination: bool = True
    update_needs_rights_first: bool = False
    token_before_uuid: bool = True
    """True if an unknown token is refused before an id that is no uuid."""
    cannot_move_text: str = "Cannot modify Destination partition/namespace/name for an intention once it exists."
    header_kinds: str = "Present, Exact, Prefix, Suffix, Contains, or Regex"
    ignore_case: bool = True
    rights_before_filter: bool = True
    """True if results that the filter leaves out count as hidden by the token too."""
    peers: bool = True
    lookup_of_uuid: str = "failed config entry lookup"
    empty_uuid_is_missing: bool = True
    authorize_reason_names_kind: bool = True
    authorize_default_reason: str | None = None
    foreign_partition: str = "refused"
    """The fate of a client of another partition in authorize: refused, denied or invalid."""
    authorize_error_prefix: bool = True
    # configuration entries
    entry_hash: bool = True
    cas_delete: bool = True
    identical_is_unwritten: bool = True
    first_entries_index: int = 10
    filter_on_listing: bool = True
    proxy_defaults_named_anything: bool = False
    protected_jwt_provider: bool = True
    protocols_are_checked: bool = True
    defaults_check_names: bool = True
    unknown_subset_end: str = " subset"
    split_place: str = ', partition=""'
    """What stands after the namespace in the complaint about a destination of two splits."""
    router_checks_methods: bool = True
    ingress_services_once: bool = True
    listener_protocols: str = "L7 protocols, 'http', 'grpc' and 'http2'"
    """Which listeners may have several services, in the complaint about one that may not."""
    override_text_end: str = ":"
    """What follows the name in the complaint about an upstream of service-defaults."""
    router_names_namespace: bool = False
    failover_subset_mark: str = ": "
    """What stands before ServiceSubset in the complaint about the subset of a failover."""
    deletions_check_listeners: bool = True
    """True if a deletion of service-defaults is held to the listeners of gateways even where no service is routed."""
    subset_filters_are_checked: bool = True
    limits_are_checked: bool = True
    """True if the limits of an upstream in service-defaults are checked."""
    certificate_kinds: tuple[str, ...] = ("file-system-certificate", "inline-certificate")
    envoy_extensions: frozenset[str] = frozenset(
        f"builtin/{name}" for name in ("aws/lambda", "ext-authz", "lua", "property-override", "wasm")
    ) | {"builtin/otel-access-logging"}
    empty_text_is_zero: bool = True
    """True if an empty text stands for the number 0 in an entry."""
    decoder_shows_value: bool = True
    """True if the error about a value of the wrong type shows the value."""
    empty_failover_text: str = (
        ": one of Service, ServiceSubset, Namespace, Targets, SamenessGroup, or Datacenters is required"
    )
    gateways_tell_service_kind: bool = True
    """True if the services of a gateway say what they are: registered, or destinations of service-defaults."""
    no_gateway_services_is_empty: bool = True
    """True if a gateway without services has an empty list, false if it has null."""
    lists_watch_all_entries: bool = True
    """True if a list of one kind of entries watches all kinds."""
    deleted_entry_lingers: bool = False
    """True if a blocking query that a deletion wakes still shows the entry."""
    quiet_queries: bool = True
    """True if a blocking query waits on when it finds nothing once more, or the same entries."""
    # services
    native_needs_port: bool = True
    proxy_needs_one_destination: bool = True
    proxy_port_text: str = "Port or SocketPath must be set for a connect-proxy"
    upstream_port_text: str = "upstream local bind port or local socket path must be defined and nonzero"
    upstream_bind_path: str = " or unix path"
    zones_need_region: bool = True
    interval_text: str = "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
    registration_prefix: str = "Validation failed: "
    register_names_token: bool = True
    """True if a refused registration names token and permission, false if the permission alone."""
    unknown_service_is_missing: bool = True
    unknown_service_text: str = 'Unknown service ID "{}". Ensure that the service ID is passed, not the service name.'
    unknown_check_text: str = 'Unknown check ID "{}". Ensure that the check ID is passed, not the check name.'
    unknown_check_status: int = 404
    ports_run_out_status: int = 500
    sidecar_check_status: int = 400
    checks_warn_first: bool = True
    """True if FailuresBeforeWarning may not exceed FailuresBeforeCritical."""
    sidecars_are_checked: bool = True
    """True if the service that a sidecar becomes is checked as any other."""
    node_tells_version: bool = True
    virtual_ips: bool = True
    checks_tell_interval: bool = True
    checks_always_written: bool = False
    """True if a registration writes its checks even if they stay the same."""
    # central configuration
    central_configuration: bool = True
    central_without_destination_id: bool = True
    """True if central configuration reaches proxies that name no instance of their destination."""
    # catalog and health
    streaming: bool = True
    denied_health_is_refused: bool = True
    streaming_retries: bool = True
    """True if streaming tries again for seconds before it refuses an unknown token."""
    wildcard_takes_native: bool = False
    """True if the wildcard of a terminating gateway stands for Connect-native services too."""
    auto_host_rewrite: bool = True
    merged_nodes_are_blank: bool = True
    """True if the catalog shows no more than a node's name where central configuration is merged."""
    catalog_takes_peer: bool = True
    sameness_groups_refused: bool = True
    bad_passing_has_index: bool = False
    """True if the refusal of a bad `passing` parameter carries an index."""
    nodes_have_index: bool = True
    """True if a node has an index of its own, which its services raise too."""
    node_names_keep_case: bool = False
    """True if a node that is registered with other capitals takes on the new name."""
    services_take_filter: bool = True
    """True if the list of services takes a filter."""
    servers_tell_replica: bool = True
    """True if the metadata of Consul's own instance says whether it is a read replica."""
    checks_are_vetted: bool = True
    """True if checks in a registration are looked through without ACLs too."""
    unnamed_service_text: str = "Must provide service name (Service.Service) when service ID is provided"
    nameless_service_text: str = ""
    """The refusal of a service without name and id; empty where it is taken."""
    nameless_check_text: str = (
        'failed inserting check on node "{}": failed health check lookup: '
        "index error: object is missing a value for this index"
    )
    unknown_row_text: str = "Unknown {} ID '{}'"
    unknown_service_of_check_text: str = "Unknown service ID '{}' for check ID '{}'"
    api_gateways: bool = True
    """True if services of the kind api-gateway are gateways."""
    sync_ends_at_refusal: bool = False
    """True if the agent tells the catalog of no check while the servers refuse one of its services."""
    any_null_ends_reads: bool = False
    """True if any null in the Config of a proxy ends reads of it, false if only one in a list does."""
    # discovery chain
    chain_is_newer: bool = True
    """True if chains have partitions, Default, split definitions and more of service-defaults."""
    chain_scope: str = "default.default"
    target_has_timeout: bool = True
    gateways_at_home: bool = True
    """True if a target in the own datacenter has a mesh gateway mode too."""
    # certificates
    root_name: str = "Consul CA Primary Cert"
    knows_leader_of_roots: bool = True
    key_type_rotates: bool = True
    configuration_checks_index: bool = True
    """True if a write of the CA configuration checks its ModifyIndex."""
    common_names: bool = False
    """True if leaf certificates have a common name."""
    leaf_revalidates: bool = True
    """True if a leaf is a cache hit only for a blocking query, or while one waits for it."""
    leaf_minds_datacenter: bool = False
    leaf_minds_token: bool = False
    agent_holds_roots: bool = True
    """True if the agent's cache has the roots from the start, for requests without a token."""
    leaf_without_name: str = "URI must be either service, agent, server, or kind"
    root_ttl: str | None = "87600h"
    """The RootCertTTL of the initial CA configuration; None where it has none."""
    rotation_period: str | None = None
    """The RotationPeriod of the initial CA configuration; None where it has none."""
    # rights
    hcl_is_strict: bool = True
    """True if rules in HCL may set no argument twice, and a value that is missing is named in the refusal."""
    services_need_node: bool = True
    """True if the list of services shows those alone whose node the token may read."""
    management_description: str = "Initial Management Token"
    management_policy: str = "A built-in policy that grants read and write access to all Consul features"
    newer_acl: bool = True
    """True if there are built-in policies to read all, and refusals about policies and tokens have newer words."""
    bootstrap_index: int = 6
    # agent
    build_date: bool = True
    primary_datacenter: bool = True
    default_intention_policy: bool = True
    prerelease: str = "dev"
    """What stands behind the release in a version that is no final one."""
    quotes_missing_service: bool = False
    """True if the agent's health of an unknown service is JSON where text was asked for."""
    # keys
    value_limit_page: str = "developer.hashicorp.com/docs/agent/config/config-files"
    conflicts_end_in_newline: bool = True
    absent_keys_wait: bool = True
    """True if a blocking query for a key that is absent does not end by finding it absent once more."""


Layer = tuple[str, Callable[[VersionFacts], VersionFacts]]
_LAYERS: Final[tuple[Layer, ...]] = (
    ("1.20.1", lambda facts: replace(facts, empty_body_type="text/plain; charset=utf-8")),
    (
        "1.20.0",
        lambda facts: replace(
            facts,
            header_kinds="Present, Exact, Prefix, Suffix, or Regex",
            ignore_case=False,
            rights_before_filter=False,
            hcl_is_strict=False,
            services_need_node=False,
            catalog_takes_peer=False,
            prerelease="",
        ),
    ),
    ("1.19", lambda facts: replace(facts, empty_body_type=None)),
    ("1.17", lambda facts: replace(facts, default_intention_policy=False)),
    (
        "1.16",
        lambda facts: replace(
            facts,
            newline_after_json=True,
            redirect_status=301,
            redirects_escaped=True,
            foreign_partition="denied",
            authorize_error_prefix=False,
            protected_jwt_provider=False,
            protocols_are_checked=False,
            certificate_kinds=("inline-certificate",),
            envoy_extensions=facts.envoy_extensions - {"builtin/otel-access-logging"},
            zones_need_region=False,
            auto_host_rewrite=False,
            sameness_groups_refused=False,
            bad_passing_has_index=True,
            value_limit_page="www.consul.io/docs/agent/config/config-files",
            conflicts_end_in_newline=False,
        ),
    ),
    ("1.16.3", lambda facts: replace(facts, entry_hash=False)),
    ("1.15", lambda facts: replace(facts, denied_health_is_refused=False)),
    (
        "1.14",
        lambda facts: replace(
            facts,
            datacenter_parameter=False,
            filter_on_listing=False,
            services_take_filter=False,
            api_gateways=False,
            sidecars_are_checked=False,
            sidecar_check_status=500,
            checks_warn_first=False,
            leaf_minds_token=True,
            streaming_retries=False,
        ),
    ),
    (
        "1.12",
        lambda facts: replace(
            facts, bad_request_prefix="Bad request: ", peers=False, build_date=False, gateways_tell_service_kind=False
        ),
    ),
    ("1.11", lambda facts: replace(facts, permission_reasons=False, node_names_keep_case=True)),
    (
        "1.10",
        lambda facts: replace(
            facts,
            decoders_join_paths=False,
            any_null_ends_reads=True,
            unknown_path_text="",
            outside_v1_text="",
            filtered_header=False,
            partition_parameter=False,
            semicolon_separates=True,
            name_parts=2,
            post_needs_destination=False,
            cannot_move_text="Cannot modify DestinationNS or DestinationName for an intention once it exists.",
            authorize_default_reason="ACLs disabled, access is allowed by default",
            foreign_partition="invalid",
            cas_delete=False,
            key_type_rotates=False,
            common_names=True,
            management_description="Master Token",
            management_policy="Builtin Policy that grants unlimited access",
            newer_acl=False,
            agent_holds_roots=False,
            leaf_minds_datacenter=True,
            leaf_without_name="URI must be either service or agent",
            root_ttl=None,
            empty_failover_text=" one of Service, ServiceSubset, Namespace, or Datacenters is required",
            override_text_end="",
            unknown_subset_end="",
            split_place="",
            ingress_services_once=False,
            no_gateway_services_is_empty=False,
            proxy_defaults_named_anything=True,
            empty_text_is_zero=False,
            failover_subset_mark=".",
            subset_filters_are_checked=False,
            limits_are_checked=False,
            decoder_shows_value=False,
            chain_is_newer=False,
            chain_scope="default",
            gateways_at_home=False,
            native_needs_port=False,
            proxy_port_text="Port or SocketPath must be set for a Connect proxy",
            interval_text="Interval must be > 0 for Script, HTTP, H2PING, or TCP checks",
            registration_prefix="",
            register_names_token=False,
            unknown_service_is_missing=False,
            unknown_service_text='Unknown service "{}"',
            unknown_check_text='CheckID "{}" does not have associated TTL',
            unknown_check_status=500,
            node_tells_version=False,
            virtual_ips=False,
            checks_tell_interval=False,
            central_without_destination_id=False,
            wildcard_takes_native=True,
            merged_nodes_are_blank=False,
            checks_are_vetted=False,
            unknown_row_text="Unknown {} '{}'",
            unknown_service_of_check_text="Unknown service '{}' for check '{}'",
            value_limit_page="www.consul.io/docs/agent/options.html",
            nodes_have_index=False,
        ),
    ),
    (
        "1.8",
        lambda facts: replace(
            facts,
            says_too_many=False,
            gzip_from=0,
            default_policy_header=False,
            query_backend_header=False,
            intentions_take_namespace=True,
            defaults_check_names=False,
            upstream_bind_path="",
            router_checks_methods=False,
            listener_protocols="protocol = 'http'",
            alias_struct="",
            intentions_are_entries=False,
            writes_go_to_primary=False,
            identical_is_unwritten=False,
            first_entries_index=1,
            match_has_meta=False,
            update_needs_rights_first=True,
            token_before_uuid=False,
            lookup_of_uuid="failed intention lookup",
            empty_uuid_is_missing=False,
            authorize_reason_names_kind=False,
            root_name="Consul CA Root Cert",
            knows_leader_of_roots=False,
            configuration_checks_index=False,
            leaf_revalidates=False,
            rotation_period="2160h",
            primary_datacenter=False,
            router_names_namespace=True,
            target_has_timeout=False,
            deletions_check_listeners=False,
            proxy_needs_one_destination=False,
            proxy_port_text="Port must be set for a Connect proxy",
            upstream_port_text="upstream local bind port cannot be zero",
            unknown_service_text='Unknown service {{"{}" {{}}}}',
            central_configuration=False,
            streaming=False,
            bad_passing_has_index=False,
            servers_tell_replica=False,
            unnamed_service_text="Must provide service name with ID",
            nameless_service_text="failed inserting service: failed inserting service: object missing primary index",
            nameless_check_text=(
                'failed inserting check: failed inserting check: object missing primary index on node "{}"'
            ),
            quotes_missing_service=True,
            bootstrap_index=5,
            absent_keys_wait=False,
            sync_ends_at_refusal=True,
            interval_text="Interval must be > 0 for Script, HTTP, or TCP checks",
            lists_watch_all_entries=False,
            deleted_entry_lingers=True,
            quiet_queries=False,
            checks_always_written=True,
        ),
    ),
)
"""The changes for older versions, newest first: each holds for its version and for all before it.

A layer stands at the last version that is known to be so. Where an agent plays that version, the change came somewhere
between it and the next one that is played.
"""


def _facts(version: str) -> VersionFacts:
    facts = VersionFacts(version=version, release=release_of(version))
    for until, change in _LAYERS:
        if spans(version, OLDEST, until):
            facts = change(facts)
    return facts


FACTS: Final = {version: _facts(version) for version in VERSIONS}


def facts_of(version: str) -> VersionFacts:
    """The facts of a version, one of `VERSIONS`."""
    return next(facts for name, facts in FACTS.items() if name == version)

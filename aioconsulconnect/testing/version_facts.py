"""The named facts in which versions of Consul differ."""

from dataclasses import dataclass


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
    """True if a partition is refused and not ignored."""
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
    durations_are_quoted: bool = True
    """True if an error about a duration escapes what it quotes."""
    addresses_take_zeros: bool = False
    """True if the numbers of an IPv4 address may begin with zeros."""
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
    kind_may_stand_twice: bool = True
    """True if an entry may have both Kind and kind: the first one counts."""
    jwt_is_enterprise: bool = True
    """True if the refusal of an unknown member with JWT in its path speaks of the enterprise version."""
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
    proxy_port_first: bool = True
    """True if the complaint about the port of a proxy comes before those about its destination."""
    exposes_paths_once: bool = False
    """True if a path may be exposed once only."""
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
    wildcard_takes_any: bool = False
    """True if the wildcard of an ingress gateway stands for services outside the mesh too."""
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
    states_ignore_case: bool = True
    """True if the state of checks is found in any case."""
    check_nodes_ignore_case: bool = True
    """True if a check in a registration may spell the node in another case."""
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
    root_fingerprint_prefix: str = ""
    """The beginning of the complaint about a root that is no certificate."""
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
    role_write_prefix: str = "Failed to apply role upsert request: "
    """The beginning of a refusal of a role's ids."""
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

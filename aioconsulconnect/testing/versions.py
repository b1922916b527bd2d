"""The versions of Consul that the in-process agent plays, and the named facts in which they differ.

The rest of the package asks for a fact of `VersionFacts`, never for a version. Fields, routes and kinds that came or
went name the first version that has them (`since`) or the last one (`until`) in their own tables; any version may stand
there, such as "1.13" or "1.16.4". To play another version, add it to `Version`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Final, Literal, get_args

from aioconsulconnect.testing.version_facts import VersionFacts

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
            protocols_are_checked=False,
            certificate_kinds=("inline-certificate",),
            envoy_extensions=facts.envoy_extensions - {"builtin/otel-access-logging"},
            zones_need_region=False,
            jwt_is_enterprise=False,
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
            any_null_ends_reads=True,
            unknown_path_text="",
            outside_v1_text="",
            filtered_header=False,
            partition_parameter=False,
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
            bootstrap_index=5,
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
            failover_subset_mark=".",
            subset_filters_are_checked=False,
            limits_are_checked=False,
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
            wildcard_takes_any=True,
            merged_nodes_are_blank=False,
            checks_are_vetted=False,
            check_nodes_ignore_case=False,
            proxy_port_first=False,
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
            durations_are_quoted=False,
            decoders_join_paths=False,
            addresses_take_zeros=True,
            exposes_paths_once=True,
            states_ignore_case=False,
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
            root_fingerprint_prefix="error parsing root fingerprint: ",
            knows_leader_of_roots=False,
            configuration_checks_index=False,
            leaf_revalidates=False,
            rotation_period="2160h",
            primary_datacenter=False,
            router_names_namespace=True,
            target_has_timeout=False,
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
            role_write_prefix="",
            absent_keys_wait=False,
            sync_ends_at_refusal=True,
            interval_text="Interval must be > 0 for Script, HTTP, or TCP checks",
            lists_watch_all_entries=False,
            deleted_entry_lingers=True,
            semicolon_separates=True,
            empty_text_is_zero=False,
            decoder_shows_value=False,
            kind_may_stand_twice=False,
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

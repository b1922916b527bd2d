"""Configuration of an Envoy that serves many sets of intentions on one port: the name in the handshake chooses."""

from __future__ import annotations

from typing import Any

from support.envoy_identities import Authority

from aioconsulconnect.structs.config_entries.defaults import RequestNormalization

Json = dict[str, Any]
LISTENER = "public"
_TYPES = "type.googleapis.com/envoy.extensions"


def static_config(chains: list[Json], app_port: int) -> Json:
    """One listener with these filter chains, and the application behind them."""
    listener = {
        "name": LISTENER,
        "address": _address(0),
        "listener_filters": [_filter("tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector", {})],
        "filter_chains": chains,
    }
    app = {
        "name": "app",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(app_port)}}]}],
        },
    }
    runtime = {"name": "consul", "static_layer": {"re2.max_program_size.error_level": 1 << 20}}  # as Consul's agents do
    return {"layered_runtime": {"layers": [runtime]}, "static_resources": {"listeners": [listener], "clusters": [app]}}


def http_chain(server_name: str, rules: Json, authority: Authority, normalization: RequestNormalization) -> Json:
    """The public listener of a service whose protocol is http, with all settings of Consul's that concern its rules."""
    escaped = normalization.path_with_escaped_slashes_action or "KEEP_UNCHANGED"
    underscores = normalization.headers_with_underscores_action or "ALLOW"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    manager = {
        "stat_prefix": "http",
        "normalize_path": not normalization.insecure_disable_path_normalization,
        "merge_slashes": normalization.merge_slashes,
        "path_with_escaped_slashes_action": escaped,
        "common_http_protocol_options": {"headers_with_underscores_action": underscores},
        "tracing": {"random_sampling": {"value": 0}},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"uri": True},
        "http_filters": [
            _filter("rbac", "filters.http.rbac.v3.RBAC", {"rules": rules}),
            _filter("router", "filters.http.router.v3.Router", {}),
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    kind = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    return _chain(server_name, authority, [_filter("http", kind, manager)])


def tcp_chain(server_name: str, rules: Json, authority: Authority) -> Json:
    """The public listener of a service whose protocol is tcp; it sends back what it is sent."""
    network_rbac = _filter("rbac", "filters.network.rbac.v3.RBAC", {"stat_prefix": "tcp", "rules": rules})
    return _chain(server_name, authority, [network_rbac, _filter("echo", "filters.network.echo.v3.Echo", {})])


def _chain(server_name: str, authority: Authority, filters: list[Json]) -> Json:
    pair = {
        "certificate_chain": {"filename": str(authority.server)},
        "private_key": {"filename": str(authority.server)},
    }
    tls = {
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [pair],
            "validation_context": {"trusted_ca": {"filename": str(authority.roots)}},
        },
    }
    return {
        "filter_chain_match": {"server_names": [server_name]},
        "transport_socket": _filter("tls", "transport_sockets.tls.v3.DownstreamTlsContext", tls),
        "filters": filters,
    }


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _filter(name: str, kind: str, config: Json) -> Json:
    return {"name": name, "typed_config": {"@type": f"{_TYPES}.{kind}"} | config}

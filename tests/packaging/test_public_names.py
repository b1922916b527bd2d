"""The names that users write: there, typed, documented, and the same in every list."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect

import pytest
from support.package import FOLDER, MODULES

import aioconsulconnect
from aioconsulconnect import cli, pytest_plugin, structs, testing

# What a user's imports may rely on. A name that goes from here goes from somebody's program.
TOP = """
AccessChange Added Authorizer AuthorizerStatus BadRequest Batch CAConfig CAConfiguration Capabilities Change Changed
Changes Clock Closed Conflict ConnectionFailed ConnectionSettings ConnectorArguments Consistency Consul ConsulError
Counters Cursor Decision Delivery ErrorReason Event HTTPPermission HTTPRequest HeaderPermission HealthSelection Hook
Ignore Intention IntentionKey InvalidRequest JWTProviderRequirement JWTRequirement Meta NoLeader NotFound NotReady
Options OutcomeUnknown Peer Permission PermissionDenied Plan PollRecord PollSettings ProviderConfig Query Removed Reply
RequestTimeout ResponseTooLarge Root Roots Selection ServerError SessionFactory SettingsError Snapshots SpiffeId State
States Status Throttled TokenProvider UnreadableResponse Unsupported Verdict VerdictReason VerifyClaim Watch
__version__ all_ready authorization lint structs testing
"""
AUTHORIZATION = """
AccessChange AccessChanges Authorizer AuthorizerCounters AuthorizerState AuthorizerStatus Caller Claims Decision
DecisionHook DecisionSettings DefaultPolicy Explanation Finding HTTPRequest Mode Peer Problem Reason Source Table
Verdict Visibility explain lint unknown_fields
"""
STRUCTS = """
AccessLogs Action Address AgentInfo AgentService AgentServiceKey Authorization CAConfig CAConfiguration CatalogInstance
CatalogService CatalogServiceKey CertificateProviderInstance ChainFailover ChainNode ChainOverrides ChainResolver
ChainRoute ChainSplit ChainTarget Check Connect Consumer CookieConfig Destination DiscoveryChain DiscoveryChainKey
Entry EntryKey EnvoyExtension ExportedService ExportedServices Expose ExposePath Failover FailoverPolicy FailoverTarget
GatewayService GatewayServiceKey GatewayTLS GatewayTLSSDS HTTPPermission HashPolicy HeaderModifiers HeaderPermission
HealthCheck HealthStatus IngressDefaults IngressGateway IngressListener IngressService Instance InstanceKey
InstanceRateLimits Intention IntentionKey JSONWebKeySet JWKSCluster JWTCacheConfig JWTForwarding JWTLocation
JWTLocationCookie JWTLocationHeader JWTLocationQueryParam JWTProvider JWTProviderRequirement JWTRequirement KnownEntry
Leaf LeafKey LeastRequestConfig LinkedService LoadBalancer LocalJWKS Locality MatchKey Mesh MeshGateway MeshHTTP
MeshHTTPIncoming MeshPeering MeshTLS MeshTLSDirection MeshTransparentProxy Node NodeKey PassiveHealthCheck PeerMeta
Permission PrioritizeByLocality ProviderConfig Proxy ProxyDefaults RateLimitRoute RateLimits Redirect RemoteJWKS
RequestNormalization RetryPolicy RetryPolicyBackOff RingHashConfig Root RootKey Roots Route RouteDestination
RouteHTTPMatch RouteHeaderMatch RouteMatch RouteQueryParamMatch ServiceDefaults ServiceInstance ServiceIntentions
ServiceKind ServiceRef ServiceResolver ServiceRouter ServiceSplitter Sidecar SourceIntention Split Subset
TLSCertificates TaggedAddress TerminatingGateway TransparentProxyConfig TrustedCA UnknownEntry Upstream UpstreamConfig
UpstreamLimits UpstreamOverride VerifyClaim Weights dump_entries read_entries
"""
TESTING = "Agent Answer Fault Faults Policy Poll Request Snapshot Unmodelled Version View"
FAULTS = """
bad_index cut_at denied empty_lie error_with_index flood frozen garbage goes_back half_open hidden html_error
index_zero lost_answer no_header no_leader redirect slow_body throttled truncated zombie_limit
"""
FIXTURES = {"consul_agent", "consul_agent_module", "consul_agent_session", "consul", "consul_faults", "real_consul"}
COMMANDS = {
    "demo": {"--help", "--address", "--consul", "--rotate"},
    "test-agent": {"--help", "--acl", "--default-policy", "--host", "--port", "--token", "--version"},
}


@pytest.mark.parametrize(
    ("package", "names"), [("", TOP), ("authorization", AUTHORIZATION), ("structs", STRUCTS), ("testing", TESTING)]
)
def test_public_names_are_these_and_all_are_there(package: str, names: str) -> None:
    module = importlib.import_module(f"aioconsulconnect.{package}".removesuffix("."))
    assert sorted(module.__all__) == sorted(names.split())
    assert [name for name in names.split() if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", ["__init__", "authorization.__init__", "structs.__init__"])
def test_names_for_type_checkers_are_the_names_at_run_time(package: str) -> None:
    (branch,) = [node for node in MODULES[package].body if isinstance(node, ast.If)]
    typed = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (call,) = [node for node in ast.walk(branch) if isinstance(node, ast.Call)]
    homes = ast.literal_eval(call.args[1])
    prefix = f"aioconsulconnect.{package}".removesuffix("__init__").removesuffix(".")
    lazy = {
        name: f"{prefix}.{module}.{name}" if module else f"{prefix}.{name}"
        for module, names in homes.items()
        for name in names.split()
    }
    assert typed == lazy


def test_every_public_class_is_documented() -> None:
    for package in (aioconsulconnect, structs, testing):
        for name in package.__all__:
            thing = getattr(package, name)
            if inspect.isclass(thing):
                assert thing.__doc__, name


def test_agent_to_test_with_is_reached_without_a_further_import() -> None:
    assert aioconsulconnect.testing.Agent is testing.Agent
    assert aioconsulconnect.structs.Leaf is structs.Leaf


def test_star_import_brings_the_public_names() -> None:
    found: dict[str, object] = {}
    exec("from aioconsulconnect import *", found)
    assert set(TOP.split()) <= set(found)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        aioconsulconnect.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_faults_are_these() -> None:
    public = {name for name, _ in inspect.getmembers(testing.Faults, inspect.isfunction) if not name.startswith("_")}
    assert set(FAULTS.split()) <= public


def test_fixtures_are_these() -> None:
    assert {name for name in vars(pytest_plugin) if name in FIXTURES} == FIXTURES


def test_commands_and_their_options_are_these() -> None:
    (subcommands,) = [action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)]
    found = {
        name: {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        for name, parser in subcommands.choices.items()
    }
    assert found == COMMANDS


def test_version_is_that_of_the_package() -> None:
    assert aioconsulconnect.__version__.count(".") == 2
    assert (FOLDER / "py.typed").exists()

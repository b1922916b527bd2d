"""
Consul's error texts and their meanings: a closed list, as data.

Only `interpretation` matches them.
"""

from __future__ import annotations

import msgspec

from aioconsulconnect.errors import (
    BadRequest,
    Conflict,
    ConsulError,
    ErrorReason,
    NoLeader,
    NotFound,
    PermissionDenied,
    ServerError,
    Throttled,
    Unsupported,
)


class Meaning(msgspec.Struct, frozen=True):
    """
    Meaning of an error answer: the class and reason of the error, and what to do.

    - `kind`: class of the error.
    - `reason`: its reason.
    - `advice`: its message: what to do.
    - `words`: in the tables, texts that have this meaning, looked for anywhere in Consul's text.
    - `min_version`: Consul version, edition or setting that could serve the request, "" for none.
    - `at`: path for which alone the words have this meaning, "" for all; with a star at its end, all that begin so.
    - `final`: the request can never work.
    """

    kind: type[ConsulError]
    reason: ErrorReason
    advice: str
    words: tuple[str, ...] = ()
    min_version: str = ""
    at: str = ""
    final: bool = False


_NO_RIGHTS = "the token in use lacks the rights for this"
_INTERRUPTED = "the servers broke off; a write may or may not have been applied"
_NO_LEADER = "Consul's servers have no leader or cannot be reached; reads can be tried again"
_CA_NOT_READY = "the certificate authority is not ready; try again later"
_NO_DATACENTER = "no server of that datacenter can be reached, or there is none of that name"
_TOO_MUCH = "too many requests or connections; try again later"
_NOT_THERE = "there is no such thing"
_TAKEN = "it exists already, or was changed meanwhile: read it again"

INVALID = Meaning(BadRequest, ErrorReason.INVALID, "mend the request")

# The first match counts. Client agents put "rpc error making call: " and more before the servers' words.
BY_TEXT = (
    Meaning(
        PermissionDenied,
        ErrorReason.ACL_NOT_BOOTSTRAPPED,
        "the servers have not loaded their ACLs yet; try again",
        ("ACL system must be bootstrapped",),
    ),
    Meaning(PermissionDenied, ErrorReason.TOKEN_UNKNOWN, "the token is not known to Consul", ("ACL not found",)),
    Meaning(
        PermissionDenied,
        ErrorReason.ANONYMOUS_LACKS_PERMISSION,
        _NO_RIGHTS,
        ("Permission denied: anonymous token",),
    ),
    Meaning(
        PermissionDenied,
        ErrorReason.TOKEN_LACKS_PERMISSION,
        _NO_RIGHTS,
        ("Permission denied: token with AccessorID",),
    ),
    Meaning(PermissionDenied, ErrorReason.PERMISSION_DENIED, _NO_RIGHTS, ("Permission denied",)),
    Meaning(
        Unsupported,
        ErrorReason.ENTERPRISE_ONLY,
        "this needs Consul Enterprise: leave out namespace and partition, and CONSUL_NAMESPACE and CONSUL_PARTITION",
        ("Consul Enterprise", "consul enterprise feature", "enterprise-only feature", "not supported in consul CE"),
        "Consul Enterprise",
        final=True,
    ),
    Meaning(Throttled, ErrorReason.TOO_MANY_CONNECTIONS, _TOO_MUCH, ("too many concurrent connections",)),
    Meaning(Throttled, ErrorReason.RATE_LIMITED, _TOO_MUCH, ("rate limit", "Rate limit")),
    Meaning(NoLeader, ErrorReason.NO_SERVERS, _NO_LEADER, ("No known Consul servers",)),
    Meaning(
        NoLeader,
        ErrorReason.NO_LEADER,
        _NO_LEADER,
        (
            "No cluster leader",
            "failed to get conn",
            "Raft leader not found",
            "Not ready to serve consistent reads",
            "resolver error: resolver produced no addresses",
        ),
    ),
    Meaning(
        Unsupported,
        ErrorReason.CONNECT_DISABLED,
        "Connect is switched off on this agent",
        ("Connect must be enabled",),
        "connect.enabled = true",
        final=True,
    ),
    Meaning(
        Unsupported,
        ErrorReason.ACL_DISABLED,
        "ACLs are switched off on this agent",
        ("ACL support disabled",),
        "acl.enabled = true",
        final=True,
    ),
    Meaning(
        Unsupported,
        ErrorReason.SCRIPTS_DISABLED,
        "checks that run a program are switched off on this agent",
        ("Scripts are disabled",),
        "enable_local_script_checks = true",
        final=True,
    ),
    Meaning(
        BadRequest,
        ErrorReason.TLS_NEEDED,
        "this port speaks TLS: give the address as https:// or set CONSUL_HTTP_SSL",
        ("Client sent an HTTP request to an HTTPS server",),
    ),
    Meaning(
        Unsupported,
        ErrorReason.UNKNOWN_KIND,
        "this Consul does not know the kind of config entry",
        ("invalid config entry kind",),
        final=True,
    ),
    Meaning(
        Unsupported,
        ErrorReason.UNKNOWN_PATH,
        "this agent does not serve the endpoint",
        ("Invalid URL path",),
        final=True,
    ),
    Meaning(
        NotFound,
        ErrorReason.NOT_FOUND,
        _NOT_THERE,
        (
            "Intention not found",
            "non-existent intention",
            "Config entry not found",
            "unknown service ID",
            "Unknown service ID",
            'Unknown service "',
            'Unknown service {"',
            "Unknown check ID",
            'Unknown check "',
            'Unknown check {"',
            "No service registered with ID",
            "Must provide both a kind and name to delete",
        ),
    ),
    Meaning(NotFound, ErrorReason.NOT_FOUND, _NOT_THERE, ("does not exist",), at="/v1/agent/check/register"),
    Meaning(Conflict, ErrorReason.ALREADY_EXISTS, _TAKEN, ("duplicate intention found",)),
    Meaning(Conflict, ErrorReason.CHANGED_MEANWHILE, _TAKEN, ("ModifyIndex did not match existing",)),
    Meaning(
        Conflict,
        ErrorReason.ALREADY_EXISTS,
        "the two names have an intention already",
        ("more than once",),
        at="/v1/connect/intentions*",
    ),
    Meaning(
        BadRequest,
        ErrorReason.HAS_LEGACY_META,
        "an intention of this destination was created by id and has meta: first write that one by name, or delete it",
        ("LegacyMeta must be omitted",),
    ),
    Meaning(
        ServerError,
        ErrorReason.CA_UNINITIALIZED,
        _CA_NOT_READY,
        ("CA is uninitialized", "CA has not finished initializing"),
    ),
    Meaning(ServerError, ErrorReason.CA_NOT_READY, _CA_NOT_READY, ("provider not initialized",)),
    Meaning(
        ServerError,
        ErrorReason.UPGRADING,
        "the servers are being upgraded; try again later",
        ("read only while being upgraded",),
    ),
    Meaning(ServerError, ErrorReason.DATACENTER_UNKNOWN, _NO_DATACENTER, ("No path to datacenter",)),
    Meaning(ServerError, ErrorReason.DATACENTER_UNREACHABLE, _NO_DATACENTER, ("Remote DC has no server",)),
    Meaning(ServerError, ErrorReason.DEADLINE_REACHED, _INTERRUPTED, ("i/o deadline reached",)),
    Meaning(
        ServerError,
        ErrorReason.INTERRUPTED,
        _INTERRUPTED,
        (
            "leadership lost",
            "making call: EOF",
            "i/o timeout",
            "i/o deadline",
            "connection reset",
            "broken pipe",
            "session shutdown",
            "stream closed",
            "use of closed network connection",
            "reading from server",
            "connection is closing",
            "shutting down",
        ),
    ),
)

# Beginnings of sentences in which Consul says that a read, or a body that it cannot decode, can never work, whatever
# the status (most are 500). Before them stand only other words of Consul and a colon.
WRONG = (
    "Failed to create boolean expression evaluator",
    'Selector "',
    "filtering not supported for config entry kind",
    "Invalid index",
    "Invalid wait time",
    "Invalid value for ?passing",
    "Invalid max_stale value",
    "Invalid query parameter: ",
    "Invalid header: ",
    "Invalid OverrideMeshGateway.Mode parameter",
    "Cannot specify ?stale with ?consistent",
    "Missing service name",
    "Missing gateway name",
    "Missing chain name",
    "The 'pem' query parameter must be a boolean value",
    "peer-name and sameness-group are mutually exclusive",
    "required query parameter '",
    "'by' parameter must be one of 'source' or 'destination'",
    "input can contain at most ",
    "cannot specify a peer here",
    "need to specify the service name as well",
    "unsupported SourceType: ",
    "SourceName is missing",
    "DestinationName is missing",
    "index error: UUID must be 36 characters",
    "index error: UUID should have maximum of 4",
    "index error: Invalid UUID",
    "URI must be either service",
    "SPIFFE ID is not in the expected format",
    "Target service must be specified",
    "ClientCertURI not a valid ",
    "Mismatched partitions: ",
    "Request decode failed: ",
    "Request decoding failed: ",
    "Failed to decode request body: ",
    "The in-process agent does not model ",  # said by `testing`
)

"""`error.reason`: one for each of Consul's texts that anybody decides on, whatever stands around it."""

from __future__ import annotations

import pytest
from support.recorded import exchanges

from aioconsulconnect.errors import ErrorReason, PermissionDenied
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response


def reason_of(status: int, text: str, path: str = "/v1/x", content_type: str = "text/plain") -> ErrorReason:
    request = Request(method="GET", path=path, decode=lambda answer: answer.body)
    error = failure(request, Response(status, {"content-type": content_type}, text.encode()))
    assert error is not None
    return error.reason


TEXTS = [
    (403, "ACL not found", ErrorReason.TOKEN_UNKNOWN),
    (403, "ACL system must be bootstrapped before making any requests that require authorization: ACL not found",
     ErrorReason.ACL_NOT_BOOTSTRAPPED),
    (403, "Permission denied", ErrorReason.PERMISSION_DENIED),
    (403, "Permission denied: token with AccessorID 'x' lacks permission", ErrorReason.TOKEN_LACKS_PERMISSION),
    (403, "Permission denied: anonymous token lacks permission", ErrorReason.ANONYMOUS_LACKS_PERMISSION),
    (400, "Namespaces are a Consul Enterprise feature", ErrorReason.ENTERPRISE_ONLY),
    (500, "Connect must be enabled in order to use this endpoint", ErrorReason.CONNECT_DISABLED),
    (401, "ACL support disabled", ErrorReason.ACL_DISABLED),
    (500, "Scripts are disabled on this agent; to enable, configure …", ErrorReason.SCRIPTS_DISABLED),
    (400, "Client sent an HTTP request to an HTTPS server.", ErrorReason.TLS_NEEDED),
    (400, "invalid config entry kind: x", ErrorReason.UNKNOWN_KIND),
    (400, 'unknown field "Permissions"', ErrorReason.UNKNOWN_FIELD),
    (429, "Your IP is issuing too many concurrent connections, please rate limit your calls",
     ErrorReason.TOO_MANY_CONNECTIONS),
    (429, "RPC rate limit exceeded", ErrorReason.RATE_LIMITED),
    (500, "No cluster leader", ErrorReason.NO_LEADER),
    (500, "No known Consul servers", ErrorReason.NO_SERVERS),
    (500, "Intentions are read only while being upgraded to config entries", ErrorReason.UPGRADING),
    (500, "CA is uninitialized", ErrorReason.CA_UNINITIALIZED),
    (500, "CA has not finished initializing", ErrorReason.CA_UNINITIALIZED),
    (500, "provider not initialized", ErrorReason.CA_NOT_READY),
    (500, "No path to datacenter", ErrorReason.DATACENTER_UNKNOWN),
    (500, "Remote DC has no server currently reachable", ErrorReason.DATACENTER_UNREACHABLE),
    (500, "leadership lost while committing log", ErrorReason.INTERRUPTED),
    (500, "write tcp 127.0.0.1:53437->127.0.0.1:22426: write: broken pipe", ErrorReason.INTERRUPTED),
    (500, "session shutdown", ErrorReason.INTERRUPTED),
    (500, "stream closed", ErrorReason.INTERRUPTED),
    (500, "write tcp 127.0.0.1:1->127.0.0.1:2: use of closed network connection", ErrorReason.INTERRUPTED),
    (500, "i/o deadline reached", ErrorReason.DEADLINE_REACHED),
    (404, "Intention not found", ErrorReason.NOT_FOUND),
    (500, "duplicate intention found", ErrorReason.ALREADY_EXISTS),
    (500, "ModifyIndex did not match existing", ErrorReason.CHANGED_MEANWHILE),
    (500, "Sources[0].LegacyMeta must be omitted", ErrorReason.HAS_LEGACY_META),
    (500, "Failed to create boolean expression evaluator: 1:1 (0): no match found", ErrorReason.INVALID),
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "rpc error making call: "])
@pytest.mark.parametrize(("status", "text", "reason"), TEXTS)
def test_reason_is_read_from_consuls_words_wherever_they_stand(
    prefix: str, status: int, text: str, reason: ErrorReason
) -> None:
    assert reason_of(status, prefix + text) is reason


@pytest.mark.parametrize(
    ("status", "text", "content_type", "reason"),
    [
        (403, "no entry", "text/plain", ErrorReason.FORBIDDEN),
        (404, "", "text/plain", ErrorReason.NOT_CONSUL),
        (404, "Invalid URL path: not a recognized HTTP API endpoint", "text/plain", ErrorReason.UNKNOWN_PATH),
        (404, "<html>", "text/html", ErrorReason.NOT_CONSUL),
        (503, "<html>", "text/html", ErrorReason.NOT_CONSUL),
        (307, "", "text/plain", ErrorReason.NOT_CONSUL),
        (429, "slow down", "text/plain", ErrorReason.RATE_LIMITED),
        (400, "Bad request: what is this", "text/plain", ErrorReason.NOT_CONSUL),
        (501, "no", "text/plain", ErrorReason.NOT_IMPLEMENTED),
        (500, "something that nobody has seen", "text/plain", ErrorReason.UNSPECIFIED),
    ],
)
def test_reason_is_read_from_the_status_where_no_words_are_known(
    status: int, text: str, content_type: str, reason: ErrorReason
) -> None:
    assert reason_of(status, text, content_type=content_type) is reason


def test_every_reason_is_given_by_some_answer_or_has_another_source() -> None:
    without_answer = {
        ErrorReason.UNREACHABLE, ErrorReason.RESET_AT_ONCE, ErrorReason.TOKEN_MISSING, ErrorReason.BROKEN,
        ErrorReason.BUSY, ErrorReason.CERTIFICATE, ErrorReason.PROXY_REFUSED, ErrorReason.NOT_UNDERSTOOD,
    }  # fmt: skip
    elsewhere = {
        ErrorReason.FORBIDDEN, ErrorReason.UNSERVED, ErrorReason.UNKNOWN_PATH, ErrorReason.NOT_CONSUL,
        ErrorReason.NOT_IMPLEMENTED, ErrorReason.UNSPECIFIED,
    }  # fmt: skip
    assert {reason for _, _, reason in TEXTS} | without_answer | elsewhere == set(ErrorReason)


def test_recorded_denials_name_what_their_version_tells() -> None:
    told = {
        ErrorReason.TOKEN_UNKNOWN: "1.8",
        ErrorReason.PERMISSION_DENIED: "1.8",
        ErrorReason.TOKEN_LACKS_PERMISSION: "1.16",
        ErrorReason.ANONYMOUS_LACKS_PERMISSION: "1.16",
    }
    seen: set[ErrorReason] = set()
    for exchange in exchanges():
        if exchange.response.status == 403:
            request = Request(method=exchange.method, path=exchange.path, decode=lambda answer: answer.body)
            error = failure(request, exchange.response)
            assert isinstance(error, PermissionDenied)
            seen.add(error.reason)
            if told[error.reason] == "1.16":
                assert exchange.version in {"1.16.6", "1.22-dev"}
    assert seen == set(told)

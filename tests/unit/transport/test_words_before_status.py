"""Who may say what for ever: only Consul, in its own words; what stands in between is waited for."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from support.servers import answer
from support.transports import ask, one

from aioconsulconnect.errors import (
    BadRequest,
    ConsulError,
    ErrorReason,
    NoLeader,
    NotFound,
    PermissionDenied,
    ServerError,
    Throttled,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.retry import worth_retrying
from aioconsulconnect.watch.protocol.verdict import ends_watch


class Row(NamedTuple):
    """An answer to a read; `first` and `later` say whether it ends a watch, `absent` whether it means absence."""

    status: int
    text: str
    kind: type[ConsulError]
    reason: ErrorReason
    final: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    min_version: str = ""


R = ErrorReason
ALLOW = (("allow", "OPTIONS,GET,PUT"),)
VAULT = "Error making API request.\n\nURL: PUT http://v/v1/sys/mounts\nCode: 403. Errors:\n\n* permission denied"

TABLE = [
    Row(500, "Failed to create boolean expression evaluator: 1:1 (0): no match", BadRequest, R.INVALID, final=True),
    Row(500, 'rpc error making call: Selector "Foo" is not valid', BadRequest, R.INVALID, final=True),
    Row(500, "filtering not supported for config entry kind=mesh", BadRequest, R.INVALID, final=True),
    Row(500, "invalid config entry kind: nope", Unsupported, R.UNKNOWN_KIND, final=True),
    Row(400, "invalid config entry kind: nope", Unsupported, R.UNKNOWN_KIND, final=True),
    Row(
        400,
        'Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature',
        Unsupported,
        R.ENTERPRISE_ONLY,
        final=True,
    ),
    Row(500, "sameness groups are not supported in consul CE", Unsupported, R.ENTERPRISE_ONLY, final=True),
    Row(405, "method GET not allowed", BadRequest, R.INVALID, final=True, headers=ALLOW),
    Row(404, "Invalid URL path: not a recognized HTTP API endpoint\n", Unsupported, R.UNKNOWN_PATH, final=True),
    Row(500, "Connect must be enabled in order to use this endpoint", Unsupported, R.CONNECT_DISABLED, final=True),
    Row(401, "ACL support disabled", Unsupported, R.ACL_DISABLED, final=True),
    Row(400, "Invalid index", BadRequest, R.INVALID, final=True),
    Row(400, "Invalid wait time", BadRequest, R.INVALID, final=True),
    Row(400, "Missing service name", BadRequest, R.INVALID, final=True),
    Row(400, "Bad request: Missing chain name", BadRequest, R.INVALID, final=True),
    Row(400, "Cannot specify ?stale with ?consistent, conflicting semantics.", BadRequest, R.INVALID, final=True),
    Row(500, "required query parameter 'by' not set", BadRequest, R.INVALID, final=True),
    Row(500, "name \"a/b/c\" is invalid: input can contain at most one '/'", BadRequest, R.INVALID, final=True),
    Row(500, "1 error occurred:\n\t* SourceName is missing\n\n", BadRequest, R.INVALID, final=True),
    Row(403, "Permission denied", PermissionDenied, R.PERMISSION_DENIED),
    Row(
        403,
        "Permission denied: anonymous token lacks permission 'x'",
        PermissionDenied,
        R.ANONYMOUS_LACKS_PERMISSION,
    ),
    Row(403, "ACL not found", PermissionDenied, R.TOKEN_UNKNOWN),
    Row(
        403,
        "ACL system must be bootstrapped before making any requests that require authorization: ACL not found",
        PermissionDenied,
        R.ACL_NOT_BOOTSTRAPPED,
    ),
    Row(403, "Forbidden", PermissionDenied, R.FORBIDDEN),
    Row(403, "<h1>Permission denied</h1>", PermissionDenied, R.FORBIDDEN),
    Row(404, 'Config entry not found for "mesh" / "mesh"', NotFound, R.NOT_FOUND),
    Row(404, "unknown service ID: web", NotFound, R.NOT_FOUND),
    Row(404, "", NotFound, R.NOT_FOUND, headers=(("x-consul-index", "12"),)),
    Row(404, "", Unsupported, R.UNSERVED, min_version="1.9"),
    Row(404, "", UnreadableResponse, R.NOT_CONSUL),
    Row(404, "default backend - 404", UnreadableResponse, R.NOT_CONSUL),
    Row(400, "bad request", UnreadableResponse, R.NOT_CONSUL),
    Row(400, "Invalid request: this is an enterprise feature, please upgrade", UnreadableResponse, R.NOT_CONSUL),
    Row(405, "method GET not allowed", UnreadableResponse, R.NOT_CONSUL),
    Row(500, "1 error occurred:\n\t* permission denied\n\n", ServerError, R.UNSPECIFIED),
    Row(500, VAULT, ServerError, R.UNSPECIFIED),
    Row(500, "unsupported path", ServerError, R.UNSPECIFIED),
    Row(500, "x509: cannot validate certificate for 127.0.0.1", ServerError, R.UNSPECIFIED),
    Row(500, "No cluster leader", NoLeader, R.NO_LEADER),
    Row(429, "Your IP is issuing too many concurrent connections", Throttled, R.TOO_MANY_CONNECTIONS),
    Row(503, "rate limit exceeded, try again later", Throttled, R.RATE_LIMITED),
    Row(503, "error reading from server: EOF", ServerError, R.INTERRUPTED),
    Row(502, "<html>Connect must be enabled</html>", ServerError, R.NOT_CONSUL),
    Row(501, "not implemented", Unsupported, R.NOT_IMPLEMENTED),
]
DENIED = {R.PERMISSION_DENIED, R.ANONYMOUS_LACKS_PERMISSION}


def refused(row: Row) -> ConsulError:
    asked = Request(method="GET", path="/v1/x", decode=lambda got: got.body, min_version=row.min_version)
    error = failure(asked, Response(row.status, dict(row.headers), row.text.encode()))
    assert error is not None
    return error


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.status} {row.text[:30]!r}")
def test_answer_to_a_read_has_its_class_and_ends_a_watch_only_in_consuls_words(row: Row) -> None:
    error = refused(row)
    assert (type(error), error.reason, error.final) == (row.kind, row.reason, row.final)
    assert ends_watch(error, worked=False) is row.final
    assert ends_watch(error, worked=False, denied_for=0.9) is row.final
    assert ends_watch(error, worked=False, denied_for=1.0) is (row.final or row.reason in DENIED)
    assert ends_watch(error, worked=True, denied_for=100.0) is False
    assert not (row.final and worth_retrying(error, read=True))


def test_the_table_has_forty_answers() -> None:
    assert len(TABLE) >= 40


ODD = [
    (404, b"default backend - 404", "text/plain"),
    (404, b"", "text/plain"),
    (404, b"404 page not found", "text/plain"),
    (404, b"<html>nginx</html>", "text/html"),
    (404, b'{"message":"no Route matched with those values"}', "application/json"),
    (404, b"Unknown service", "text/plain"),
    (400, b"", "text/plain"),
    (400, b"bad request", "text/plain"),
    (400, b"Bad request: header too long", "text/plain"),
    (400, b"<html>400 Bad Request</html>", "text/html"),
    (402, b"pay first", "text/plain"),
    (405, b"method GET not allowed", "text/plain"),
    (406, b"Not Acceptable", "text/plain"),
    (407, b"Proxy Authentication Required", "text/plain"),
    (409, b"Conflict", "text/plain"),
    (410, b"Gone", "text/plain"),
    (411, b"", "text/plain"),
    (413, b"Request Entity Too Large", "text/plain"),
    (414, b"URI Too Long", "text/plain"),
    (418, b"I'm a teapot", "text/plain"),
    (421, b"Misdirected Request", "text/plain"),
    (425, b"Too Early", "text/plain"),
    (431, b"Request Header Fields Too Large", "text/plain"),
    (451, b"", "text/plain"),
    (499, b"Client Closed Request", "text/plain"),
    (404, b"Permission denied", "text/plain"),
    (404, b"No cluster leader", "text/plain"),
]


def test_there_are_twenty_seven_odd_answers() -> None:
    assert len(ODD) == 27


@pytest.mark.parametrize(("status", "body", "content_type"), ODD)
async def test_a_plain_read_asks_again_when_a_gateway_answers(status: int, body: bytes, content_type: str) -> None:
    async with one(answer(body, status, content_type=content_type)) as (server, carrier):
        assert (await carrier.send(ask())).body == b"{}"
        assert len(server.seen) == 2


@pytest.mark.parametrize(("status", "body", "content_type"), ODD)
async def test_a_gateway_that_goes_on_is_told_of_and_nothing_is_absent(
    status: int, body: bytes, content_type: str
) -> None:
    async with one(*[answer(body, status, content_type=content_type)] * 3) as (server, carrier):
        with pytest.raises(UnreadableResponse, match="in between") as caught:
            await carrier.send(ask())
        assert (caught.value.reason, caught.value.final, caught.value.status) == (R.NOT_CONSUL, False, status)
        assert len(server.seen) == 3


@pytest.mark.parametrize(("status", "body", "content_type"), ODD)
def test_a_gateway_ends_no_watch_not_even_as_the_first_answer(status: int, body: bytes, content_type: str) -> None:
    asked = Request(method="GET", path="/v1/x", decode=lambda got: got.body)
    error = failure(asked, Response(status, {"content-type": content_type}, body))
    assert error is not None
    assert not ends_watch(error, worked=False, denied_for=100.0)
    assert not isinstance(error, NotFound)


@pytest.mark.parametrize("status", [400, 409, 413])
async def test_a_write_that_somebody_refuses_is_not_sent_again(status: int) -> None:
    async with one(answer(b"no", status)) as (server, carrier):
        with pytest.raises(BadRequest) as caught:
            await carrier.send(ask("PUT"))
        assert not caught.value.final
        assert len(server.seen) == 1


async def test_a_delete_is_not_done_because_a_gateway_knows_no_such_path() -> None:
    async with one(answer(b"default backend - 404", 404)) as (server, carrier):
        with pytest.raises(UnreadableResponse):
            await carrier.send(ask("DELETE"))
        assert len(server.seen) == 1

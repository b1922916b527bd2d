"""What an answer means: every recorded error has its class, whatever else was never recorded too."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import given, strategies as st
from support.recorded import exchanges

from aioconsulconnect.errors import (
    BadRequest,
    Conflict,
    ConsulError,
    NoLeader,
    NotFound,
    PermissionDenied,
    ServerError,
    Throttled,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.structs.ca import read_configuration, read_roots
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.structs.intentions import read_check, read_id, read_list, read_matches, read_one
from aioconsulconnect.transport.interpretation import failure, interpret
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response


def request(method: str = "GET", path: str = "/v1/x", min_version: str = "") -> Request[bytes]:
    return Request(
        method=method, path=path, decode=lambda answer: answer.body, min_version=min_version, read=method == "GET"
    )


def refused(
    status: int, text: str = "", content_type: str = "text/plain", asked: Request[bytes] | None = None
) -> ConsulError:
    headers = {"content-type": content_type}
    error = failure(asked or request(), Response(status, headers, text.encode(), "http://a:1"))
    assert error is not None
    return error


# Every recorded error: (status, part of the text, class, what it needs where it is Unsupported).

E = BadRequest


RECORDED: list[tuple[int, str, type[ConsulError], str]] = [
    (403, "ACL not found", PermissionDenied, ""),
    (403, "Permission denied", PermissionDenied, ""),
    (400, 'unknown field "Contains"', Unsupported, "1.20.1"),
    (400, 'unknown field "IgnoreCase"', Unsupported, "1.20.1"),
    (400, 'unknown field "JWT"', Unsupported, "1.16"),
    (400, 'unknown field "Permissions"', Unsupported, "1.9"),
    (400, 'unknown field "Mode"', Unsupported, "1.10"),
    (400, 'config key "Sources[0].Permissions[0].HTTP.Header[0].Contains"', Unsupported, "1.20.1"),
    (400, 'config key "Sources[0].Permissions[0].JWT"', Unsupported, "1.16"),
    (400, 'config key "JWT"', Unsupported, "1.16"),
    (400, 'config key "Sources[1].Peer"', Unsupported, "1.13"),
    (400, 'config key "Bogus"', E, ""),
    (400, 'config key "Peering"', Unsupported, "1.14"),
    (400, 'config key "HTTP"', E, ""),
    (400, 'config key "HTTP.Incoming"', Unsupported, "1.20.1"),
    (400, 'config key "LoadBalancer"', Unsupported, "1.9"),
    (400, 'config key "UpstreamConfig"', Unsupported, "1.10"),
    (400, "invalid config entry kind", Unsupported, "a newer Consul"),
    (500, "invalid config entry kind", Unsupported, "a newer Consul"),
    (400, "Consul Enterprise feature", Unsupported, "Consul Enterprise"),
    (500, "Consul Enterprise feature", Unsupported, "Consul Enterprise"),
    (500, "enterprise-only feature", Unsupported, "Consul Enterprise"),
    (400, "'pem' query parameter must be a boolean", E, ""),
    (400, "ClientCertURI not a valid Connect identifier", E, ""),
    (400, "Provider State is read-only", E, ""),
    (400, "Request decode failed: unexpected EOF", E, ""),
    (400, "Payload does not contain a kind", E, ""),
    (400, "Target service must be specified", E, ""),
    (400, "Cannot specify ?stale with ?consistent", E, ""),
    (400, "Invalid index", E, ""),
    (400, "Invalid wait time", E, ""),
    (400, "Missing service name", E, ""),
    (404, "Intention not found", NotFound, ""),
    (404, "Config entry not found", NotFound, ""),
    (404, "nknown service ID", NotFound, ""),
    (404, "Unknown check ID", NotFound, ""),
    (404, "No service registered", NotFound, ""),
    (404, "Invalid URL path", Unsupported, "a newer Consul"),
    (405, "method P", E, ""),
    (500, "non-existent intention", NotFound, ""),
    (500, "No path to datacenter", ServerError, ""),
    (500, "duplicate intention found", Conflict, ""),
    (500, "more than once", Conflict, ""),
    (500, "Action must be", E, ""),
    (500, "'by' parameter must be one of", E, ""),
    (500, "wildcard character '*' cannot be used with partial values", E, ""),
    (500, "Failed to decode request body", E, ""),
    (500, "required query parameter", E, ""),
    (500, "Referenced JWT Provider does not exist", E, ""),
    (500, "does not have associated TTL", E, ""),
    (500, "Failed to create boolean expression evaluator", E, ""),
    (500, "Meta must not be specified", E, ""),
    (500, ".HTTP should ", E, ""),
    (500, ".HTTP.Header[0] should ", E, ""),
    (500, "could not initialize provider", E, ""),
    (500, "error configuring provider", E, ""),
    (500, "input can contain at most", E, ""),
    (500, "incompatible with L7 intentions permissions", E, ""),
    (500, "cannot specify a peer here", E, ""),
    (500, "unsupported SourceType", E, ""),
]
BY_PATH = re.compile(r"UUID must be 36 characters")  # means two things, see below


def recorded_errors() -> list[tuple[str, str, Response]]:
    return [(e.method, e.path, e.response) for e in exchanges() if e.response.status >= 300]


def wordless(response: Response) -> bool:
    """An empty 404; where the path is one for tokens the recording says that it has left one out."""
    return response.text in {"", "(token left out)"}


def test_every_recorded_error_has_its_class() -> None:
    hits = set()
    for method, path, response in recorded_errors():
        if BY_PATH.search(response.text) or wordless(response):
            continue
        rows = [row for row in RECORDED if row[0] == response.status and row[1] in response.text]
        assert rows, f"nothing is said about {response.status} {response.text!r}"
        hits.add(rows[0])
        error = failure(request(method, path), response)
        assert error is not None
        found = (type(error), getattr(error, "min_version", ""))
        twice_in_one_entry = "more than once" in response.text and path == "/v1/config"
        assert found == ((BadRequest, "") if twice_in_one_entry else rows[0][2:]), (
            f"{response.status} {response.text!r}"
        )
        assert (error.text, error.status, error.method) == (response.text[:2000], response.status, method)
        assert error.final or method != "GET" or not isinstance(error, BadRequest | Unsupported), response.text
    assert [row for row in RECORDED if row not in hits] == []


def test_uuid_error_on_an_exact_call_is_unsupported_else_bad_request() -> None:
    seen = set()
    for method, path, response in recorded_errors():
        if BY_PATH.search(response.text):
            exact = urlsplit(path).path.endswith("/exact")
            error = failure(request(method, urlsplit(path).path, min_version="1.9" if exact else ""), response)
            expected = (Unsupported, "1.9") if exact else (BadRequest, "")
            assert (type(error), getattr(error, "min_version", "")) == expected
            seen.add(exact)
    assert seen == {True, False}


def test_an_old_server_has_no_words_for_an_unknown_path() -> None:
    empty = [(method, path, answer) for method, path, answer in recorded_errors() if wordless(answer)]
    assert empty
    for method, path, answer in empty:
        bare = Response(404, answer.headers, b"", answer.address)
        new, old = (failure(request(method, path, min_version=since), bare) for since in ("1.9", "1.8"))
        assert isinstance(new, Unsupported)
        assert not new.final  # a gateway's may look like it
        assert isinstance(old, UnreadableResponse)


# What no recording has.


@pytest.mark.parametrize(
    "prefix", ["", "rpc error making call: ", "rpc error making call: rpc error: code = Unknown desc = "]
)
@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (403, "Could not resolve token to authorizer: ACL not found", PermissionDenied),
        (500, "failed getting intention match: Permission denied", PermissionDenied),
        (500, "No cluster leader", NoLeader),
        (500, "failed getting intention match: No known Consul servers", NoLeader),
        (500, "rpc error getting client: failed to get conn: dial tcp 127.0.0.1:8300: connect: refused", NoLeader),
        (500, "Raft leader not found in server lookup mapping", NoLeader),
        (500, "Not ready to serve consistent reads", NoLeader),
        (503, "resolver error: resolver produced no addresses", NoLeader),
        (429, "Your IP is issuing too many concurrent connections, please rate limit your calls", Throttled),
        (429, "RPC rate limit exceeded", Throttled),
        (429, "Rate limit reached, try again later", Throttled),
        (503, "rate limit exceeded for operation that can only be performed by the leader, try again later", Throttled),
        (500, "Intention not found", NotFound),
        (500, "Connect must be enabled in order to use this endpoint", Unsupported),
        (401, "ACL support disabled", Unsupported),
        (500, "ModifyIndex did not match existing", Conflict),
        (500, "Sources[0].LegacyMeta must be omitted", BadRequest),
        (500, "CA has not finished initializing", ServerError),
        (500, "provider not initialized", ServerError),
        (500, "Intentions are read only while being upgraded to config entries", ServerError),
        (500, "Remote DC has no server currently reachable", ServerError),
        (500, "leadership lost while committing log", ServerError),
        (500, "Sources[1].SamenessGroup: Sameness groups are a Consul Enterprise feature. ", Unsupported),
        (500, "SourcePeer field is not supported on this endpoint. Use config entries instead", BadRequest),
        (500, "Cannot modify DestinationNS or DestinationName for an intention once it exists.", BadRequest),
        (500, "cannot use legacy intention API to edit intentions with a destination of", BadRequest),
        (500, "2 errors occurred:\n\t* DestinationName must be set\n\t* Action must be set to 'allow'\n\n", BadRequest),
        (500, "error decoding config: 1 error(s) decoding:", BadRequest),
        (500, "The current CA Provider does not support cross-signing.", BadRequest),
        (500, "something that nobody has seen", ServerError),
    ],
)  # fmt: skip
def test_the_words_count_wherever_they_stand(prefix: str, status: int, text: str, kind: type[ConsulError]) -> None:
    asked = request("PUT") if kind in {BadRequest, Conflict} else request()
    error = refused(status, prefix + text, asked=asked)
    assert type(error) is kind
    assert error.address == "http://a:1"


@pytest.mark.parametrize(
    ("status", "text", "content_type", "kind"),
    [
        (301, "", "text/html", UnreadableResponse),
        (307, "", "", UnreadableResponse),
        (204 + 100, "", "", UnreadableResponse),
        (400, "", "", UnreadableResponse),
        (400, "<html>nginx</html>", "text/html", UnreadableResponse),
        (401, "who are you", "text/plain", PermissionDenied),
        (403, "Endpoint is blocked by agent configuration", "text/plain", PermissionDenied),
        (403, "Access is restricted", "text/plain", PermissionDenied),
        (404, "<h1>nginx</h1>", "text/html; charset=utf-8", UnreadableResponse),
        (404, "<h1>nginx</h1>", "text/plain", UnreadableResponse),
        (404, "nope", "text/plain", UnreadableResponse),
        (404, "\n", "text/plain", UnreadableResponse),
        (405, "method GET not allowed", "text/plain", UnreadableResponse),
        (408, "", "", ServerError),
        (413, "too much", "text/plain", UnreadableResponse),
        (429, "", "", Throttled),
        (431, "Request Header Fields Too Large", "text/plain", UnreadableResponse),
        (500, "", "", ServerError),
        (502, "<html>invalid</html>", "text/html", ServerError),
        (503, "unavailable", "text/plain", ServerError),
        (599, "", "", ServerError),
        (400, "leadership lost", "text/plain", UnreadableResponse),
    ],
)
def test_without_known_words_the_status_counts(
    status: int, text: str, content_type: str, kind: type[ConsulError]
) -> None:
    assert type(refused(status, text, content_type)) is kind


@given(st.integers(200, 599), st.binary(max_size=80), st.sampled_from(["", "text/html", "application/json"]))
def test_any_answer_has_a_meaning(status: int, body: bytes, content_type: str) -> None:
    error = failure(request(), Response(status, {"content-type": content_type}, body))
    assert (error is None) == (status < 300)


def test_a_success_is_decoded() -> None:
    assert interpret(request(), Response(200, {}, b"x")) == b"x"
    assert interpret(request(), Response(204, {}, b"")) == b""


def test_a_refusal_raises() -> None:
    with pytest.raises(NotFound, match="GET /v1/x: 404"):
        interpret(request(), Response(404, {}, b"Intention not found"))


def test_undecodable_answer_error_names_method_path_address_and_status() -> None:
    def decode(answer: Response) -> None:
        raise UnreadableResponse("not JSON")

    with pytest.raises(UnreadableResponse) as caught:
        interpret(Request(method="GET", path="/v1/x", decode=decode), Response(200, {}, b"x", "http://a:1"))
    error = caught.value
    assert (error.method, error.path, error.address, error.status) == ("GET", "/v1/x", "http://a:1", 200)


def test_a_response_has_text_and_meta() -> None:
    response = Response(500, {"x-consul-index": "7"}, b" two\xff\n\n")
    assert (response.text, response.meta.index) == ("two\ufffd", 7)


def test_a_refusal_that_names_no_version_needs_what_the_call_needs() -> None:
    asked = Request(method="GET", path="/v1/x", decode=lambda answer: answer.body, min_version="1.14")
    error = refused(404, "Invalid URL path: not a recognized HTTP API endpoint\n", asked=asked)
    assert isinstance(error, Unsupported)
    assert error.min_version == "1.14"
    assert "it needs Consul 1.14" in error.message


def assert_empty(body: bytes) -> bytes:
    assert body.strip() == b""
    return body


# Every recorded success of the calls by the decoder that the library has for it: (method, end of the path, decoder).

DECODERS: list[tuple[str, str, Callable[[bytes], object]]] = [
    ("GET", "intentions", read_list),
    ("POST", "intentions", read_id),
    ("GET", "intentions/match", read_matches),
    ("GET", "intentions/check", read_check),
    ("GET", "intentions/exact", read_one),
    ("PUT", "intentions/exact", reader(bool)),
    ("DELETE", "intentions/exact", reader(bool)),
    ("GET", "intentions/UUID", read_one),
    ("PUT", "intentions/UUID", read_id),
    ("DELETE", "intentions/UUID", reader(bool)),
    ("GET", "ca/roots", read_roots),
    ("GET", "ca/configuration", read_configuration),
    ("PUT", "ca/configuration", assert_empty),
]


def test_every_recorded_success_decodes() -> None:
    used = set()
    for exchange in exchanges():
        split = urlsplit(exchange.path)
        if not split.path.startswith("/v1/connect/") or exchange.response.status >= 300 or exchange.method == "OPTIONS":
            continue
        end = re.sub("[0-9a-f-]{36}", "UUID", split.path.removeprefix("/v1/connect/"))
        (row,) = [row for row in DECODERS if row[:2] == (exchange.method, end)]
        used.add(row)
        if "pem" not in split.query:
            row[2](exchange.response.body)
    assert used == set(DECODERS)


@pytest.mark.parametrize(
    "text",
    [
        "no splits configured",
        'DefaultSubset "x" is not a valid subset',
        "port 8080 declared on two listeners",
        "Route[0] PathPrefix doesn't start with '/'",
        'discovery chain "raw" uses a protocol "tcp" that does not permit advanced routing or splitting behavior',
        'Splits[1] defines "a" more than once',
    ],
)
def test_a_config_entry_that_consul_finds_wrong_is_no_failure_of_consul(text: str) -> None:
    for method in ("PUT", "DELETE"):
        write = Request(method=method, path="/v1/config/k/n", decode=lambda answer: answer.body, read=False)
        assert type(refused(500, text, asked=write)) is BadRequest


def test_a_config_write_that_consul_could_not_carry_out_is_no_wrong_entry() -> None:
    write = Request(method="PUT", path="/v1/config", decode=lambda answer: answer.body, read=False)
    assert type(refused(500, "No cluster leader", asked=write)) is NoLeader
    assert type(refused(500, "rpc error making call: EOF", asked=write)) is ServerError
    assert type(refused(500, "leadership lost while committing log", asked=write)) is ServerError


def test_an_agent_that_will_never_do_it_names_no_version() -> None:
    error = refused(501, "The in-process agent does not model it")
    assert isinstance(error, Unsupported)
    assert error.min_version == ""
    assert "newer" not in str(error)

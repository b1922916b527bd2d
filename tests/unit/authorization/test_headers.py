"""Headers as Envoy takes them; `tests/real/test_envoy_edges.py` asks Envoy about the same."""

from __future__ import annotations

import pytest

from aioconsulconnect.authorization.rules import headers
from aioconsulconnect.authorization.rules.headers import MOST_BYTES, UNSEEN, visible_headers
from aioconsulconnect.authorization.rules.request import Pairs
from aioconsulconnect.authorization.rules.verdict import Reason

REST = len("GET / HTTP/1.1\r\n\r\n")


def visible(*pairs: tuple[str, str], underscores: str = "allow") -> Pairs | Reason:
    return visible_headers(pairs, underscores, rest=REST)


def test_headers_of_an_ordinary_request_are_the_same_object() -> None:
    pairs = (("Host", "db:80"), ("Accept", "*/*"), ("X-Role", "root"), ("Content-Length", "12"), ("x", "a\tb\udcff"))
    assert visible(*pairs) == pairs
    assert visible_headers(pairs, "allow", rest=REST) is pairs


@pytest.mark.parametrize("name", sorted(UNSEEN))
def test_header_that_no_rule_sees_is_not_visible(name: str) -> None:
    value = "chunked" if name == "transfer-encoding" else "x"
    assert visible(("host", "db"), (name.title(), value), ("a", "b")) == (("host", "db"), ("a", "b"))


def test_connection_hides_what_it_names() -> None:
    assert visible(("Connection", "X-A, close"), ("x-a", "1"), ("connection", "x-b"), ("X-B", "2"), ("x-c", "3")) == (
        ("x-c", "3"),
    )


@pytest.mark.parametrize(
    ("te", "seen"),
    [("trailers", True), ("gzip, trailers", True), ("TRAILERS", False), ("gzip", False), ("trailers;q=1", False)],
)
def test_te_is_seen_where_it_asks_for_trailers(te: str, seen: bool) -> None:
    assert visible(("te", te), ("connection", "te")) == ((("te", "trailers"),) if seen else ())


def test_upgrade_is_seen_where_it_is_to_a_websocket() -> None:
    assert visible(("connection", "x"), ("upgrade", "WebSocket")) == (("upgrade", "WebSocket"),)
    assert visible(("upgrade", "h2c")) == ()


@pytest.mark.parametrize(
    "pairs",
    [
        [("host", "a b")], [("host", "a/b")], [("host", "é")], [("host", "a"), ("Host", "a")], [("a b", "1")],
        [("", "1")], [("a\nb", "1")], [("a", "1\nb: 2")], [("a", "1\r")], [("a", "\0")], [("a", "\x01")],
        [("a", "\x7f")], [("content-length", "-1")], [("content-length", "0"), ("content-length", "0")],
        [("content-length", "0x0")], [("content-length", "0"), ("transfer-encoding", "chunked")],
        [("transfer-encoding", "gzip")], [("connection", "host")], [("connection", "a, X-Forwarded-For")],
        [("connection", ":path")],
    ],
    ids=repr,
)  # fmt: skip
def test_header_that_the_proxy_refuses_is_refused(pairs: list[tuple[str, str]]) -> None:
    assert visible(*pairs) is Reason.REQUEST_REFUSED


def test_hundred_lines_with_that_of_host_are_the_most() -> None:
    lines = [(f"x{i}", "a") for i in range(100)]
    assert visible(*lines[:99], ("host", "db")) != Reason.REQUEST_REFUSED
    assert visible(*lines, ("host", "db")) is Reason.REQUEST_REFUSED
    assert visible(*lines[:99]) != Reason.REQUEST_REFUSED
    assert visible(*lines) is Reason.REQUEST_REFUSED


@pytest.mark.parametrize("letter", ["a", "\udcff"])
def test_size_counts_names_values_and_the_rest(letter: str) -> None:
    most = MOST_BYTES - REST - len("x: \r\n")
    each = len(letter.encode("utf-8", "surrogatepass"))
    assert visible(("x", letter * (most // each))) != Reason.REQUEST_REFUSED
    assert visible(("x", letter * (most // each + 1))) is Reason.REQUEST_REFUSED


def test_underscores_are_dropped_or_refused_as_the_mesh_says() -> None:
    assert visible(("x_a", "1"), ("b", "_"), underscores="drop") == (("b", "_"),)
    assert visible(("x_a", "1"), underscores="reject") is Reason.REQUEST_REFUSED
    assert visible(("x_a", "1")) == (("x_a", "1"),)


def test_names_are_remembered_and_values_are_not() -> None:
    assert visible(("host", "db"), ("x-n", "1")) == (("host", "db"), ("x-n", "1"))
    for pairs in ([("host", "a b"), ("x-n", "1")], [("host", "db"), ("x-n", "1\n")], [("host\nx-n", "db")]):
        assert visible(*pairs) is Reason.REQUEST_REFUSED
    assert visible(("host", "db"), ("x-n", "2")) == (("host", "db"), ("x-n", "2"))


def test_names_that_are_many_or_long_are_not_remembered() -> None:
    before = headers._remembered.cache_info().misses
    assert visible(("x" * 2000, "1")) == (("x" * 2000, "1"),)
    assert headers._remembered.cache_info().misses == before
    assert headers._remembered.cache_info().maxsize == 1024

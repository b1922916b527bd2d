"""Requests: headers in any form, and what rules see of them."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st
from multidict import CIMultiDict

from aioconsulconnect.authorization.rules.request import HTTPRequest, Seen
from aioconsulconnect.errors import InvalidRequest


@pytest.mark.parametrize(
    "headers",
    [
        [("A", "1"), ("B", "2")],
        (("A", "1"), ("B", "2")),
        {"A": "1", "B": "2"},
        CIMultiDict([("A", "1"), ("B", "2")]),
        iter([["A", "1"], ["B", "2"]]),
    ],
)
def test_headers_of_any_form_become_pairs(headers: Any) -> None:
    request = HTTPRequest("GET", "/", headers)
    assert request.pairs == (("A", "1"), ("B", "2"))
    assert pickle.loads(pickle.dumps(request)) == request
    assert hash(request)


@pytest.mark.parametrize("headers", [5, "ab", [5], [("a",)], [("a", 5)], {"a": None}, [(b"a", b"b")], ["ab"], None])
def test_headers_of_another_type_raise_invalid_request(headers: Any) -> None:
    with pytest.raises(InvalidRequest):
        HTTPRequest("GET", "/", headers)


@pytest.mark.parametrize(("method", "path"), [(None, "/"), ("GET", None), ("GET", b"/"), (5, "/")])
def test_method_and_path_of_another_type_raise_invalid_request(method: Any, path: Any) -> None:
    with pytest.raises(InvalidRequest):
        HTTPRequest(method, path)


def test_values_are_told_apart_by_line_and_without_blanks_around() -> None:
    seen = Seen(HTTPRequest("GET", "/a?b", [("X-Role", " a "), ("x-role", "b,c"), ("Host", "db")]), "/a")
    assert seen.values("x-role") == ("a", "b,c")
    assert seen.values("missing") == ()
    assert seen.values(":path") == ("/a?b",)
    assert seen.values(":method") == ("GET",)
    assert seen.values(":authority") == seen.values("host") == ("db",)


@pytest.mark.parametrize("name", ["x-forwarded-client-cert", "x-request-id", "x-forwarded-proto", ":scheme", "host"])
def test_header_that_only_the_proxy_knows_is_unknown(name: str) -> None:
    assert Seen(HTTPRequest("GET", "/"), "/").values(name) is None


def test_text_of_the_client_does_not_tell_what_the_proxy_adds() -> None:
    sent = [("x-forwarded-client-cert", "URI=spiffe://x"), ("x-request-id", "1"), ("x-forwarded-proto", "http")]
    seen = Seen(HTTPRequest("GET", "/", sent), "/")
    assert seen.values("x-forwarded-client-cert") is None
    assert seen.values("x-request-id") is None
    assert seen.values(":scheme") == seen.values("x-forwarded-proto") == ("http",)


@given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.tuples(st.text(), st.text())), st.binary()))
def test_no_headers_raise_anything_but_invalid_request(headers: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        HTTPRequest("GET", "/", headers)

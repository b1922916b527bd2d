"""What is sent: paths and queries."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.errors import (
    InvalidRequest,
)
from aioconsulconnect.transport.request import Parameters, Request, path_of, query_string
from aioconsulconnect.transport.settings.options import ALL_READ, Options


def test_parameters_are_those_of_the_request_then_those_of_the_options() -> None:
    asked = Request(
        method="GET",
        path="/v1/x",
        decode=lambda answer: answer.body,
        query=(("filter", "a == b"),),
        options=Options(datacenter="dc2", consistency="stale"),
        accepted_options=ALL_READ,
    )
    assert asked.parameters == (("filter", "a == b"), ("dc", "dc2"), ("stale", ""))
    assert query_string(asked.parameters) == "?filter=a%20%3D%3D%20b&dc=dc2&stale"


@pytest.mark.parametrize(
    "segment",
    ["", ".", "..", "../agent", "a/../b", "a//b", "/", "a/", "a\nb", "a\tb", "\x00", "\x7f", "\u2028", "a\ud800"],
)
def test_a_segment_that_leads_elsewhere_is_refused(segment: str) -> None:
    with pytest.raises(InvalidRequest):
        path_of("config", segment)


@pytest.mark.parametrize(
    ("segment", "path"),
    [
        ("web", "/v1/s/web"),
        ("*", "/v1/s/*"),
        ("a/b", "/v1/s/a%2Fb"),
        ("a b?c#d%e;f", "/v1/s/a%20b%3Fc%23d%25e%3Bf"),
        ("ü", "/v1/s/%C3%BC"),
        ("%2e%2e", "/v1/s/%252e%252e"),
        ("...", "/v1/s/..."),
    ],
)
def test_a_segment_is_encoded(segment: str, path: str) -> None:
    assert path_of("s", segment) == path


@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4))
def test_any_segments_arrive_as_they_are_or_are_refused(segments: list[str]) -> None:
    try:
        path = path_of(*segments)
    except InvalidRequest:
        return
    assert [unquote(part) for part in path.removeprefix("/v1/").split("/")] == segments
    assert path.isascii()
    assert urlsplit(path).path == path


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(st.lists(st.tuples(st.sampled_from(["name", "filter", "source"]), texts), max_size=5))
def test_any_query_arrives_as_it_is(parameters: list[tuple[str, str]]) -> None:
    text = query_string(tuple(parameters))
    assert text.isascii()
    assert parse_qsl(text.removeprefix("?"), keep_blank_values=True) == parameters


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ((), ""),
        ((("stale", ""),), "?stale"),
        ((("name", "ns/*"), ("name", "peer:east/web")), "?name=ns/*&name=peer:east/web"),
        ((("filter", "a;b&c=d+e"),), "?filter=a%3Bb%26c%3Dd%2Be"),
    ],
)
def test_queries_as_consul_takes_them(parameters: Parameters, text: str) -> None:
    assert query_string(parameters) == text


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        query_string((("filter", "a\ud800"),))

"""Normalization of requests as a sidecar does it, byte by byte, and in bounded time."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, strategies as st
from support.authorization_oracle import Call, Mesh, seen_by_rules

from aioconsulconnect.authorization.rules.normalization import CONSULS_DEFAULT, Normalizer, canonical_path
from aioconsulconnect.authorization.rules.request import HTTPRequest, Seen
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization


def normal(path: str, settings: RequestNormalization = CONSULS_DEFAULT, method: str = "GET") -> str | Reason:
    seen = Normalizer(settings).normalize(HTTPRequest(method, path))
    return seen.request.path if isinstance(seen, Seen) else seen


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"), ("/a/b?c=/../d", "/a/b?c=/../d"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/..", "/"),
        ("/../../a", "/a"), ("/a/..", "/"), ("/a/b/..", "/a/"), ("/a/.", "/a/"), ("/a//../b", "/a/b"),
        ("/..//a", "//a"), ("/a/%2e%2E/b", "/b"), ("/a/.%2e/b", "/b"), ("/a/%2e/b", "/a/b"), ("/%61%2D%5f", "/a-_"),
        ("/%2Fa%5C", "/%2Fa%5C"), ("/%2fa", "/%2fa"), ("/a\\b", "/a/b"), ("/a\\..\\b", "/b"),
        ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D"), ("//a", "//a"), ("/%zz", "/%zz"), ("/a%", "/a%"),
        ("/%20%C3%a9", "/%20%C3%a9"), ("/...", "/..."), ("/.a", "/.a"), ("/a/..b", "/a/..b"), ("/%2e%2e;x", "/..;x"),
        ("/a;x", "/a;x"), ("/%252e%252e/a", "/%252e%252e/a"), ("/a?%61", "/a?%61"), ("/?", "/?"),
    ],
)  # fmt: skip
def test_path_is_made_canonical(path: str, expected: str) -> None:
    assert normal(path) == expected


@pytest.mark.parametrize(
    "path",
    ["", "a", "*", "?a", "/a b", "/a\t", "/\x7f", "/é", "/a#b", "/%00", "/a?#", "/a?é", "/a\n", "ftp://x/", "https://"],
)
def test_target_that_a_proxy_answers_with_400_is_refused(path: str) -> None:
    assert normal(path) is Reason.REQUEST_REFUSED


def test_asterisk_reaches_no_service() -> None:
    assert normal("*", method="OPTIONS") is Reason.REQUEST_REFUSED


def test_connect_is_refused() -> None:
    assert normal("db:80", method="CONNECT") is Reason.REQUEST_REFUSED
    assert normal("/", method="") is Reason.REQUEST_REFUSED


def test_absolute_form_gives_path_and_host() -> None:
    seen = Normalizer(CONSULS_DEFAULT).normalize(HTTPRequest("GET", "http://db:80/a/../b?c", {"Host": "other"}))
    assert isinstance(seen, Seen)
    assert (seen.path, seen.request.path, seen.values("host")) == ("/b", "/b?c", ("db:80",))
    assert normal("http://db") == "/"
    assert normal("HTTP://db?a") is Reason.REQUEST_REFUSED  # no path, so no route of Envoy has it
    seen = Normalizer(CONSULS_DEFAULT).normalize(HTTPRequest("GET", "https://user:x@db/a"))
    assert isinstance(seen, Seen)
    assert seen.values("host") == ("db",)
    for target in ("http://a|b/", "http://u@v@db/", "http://db:/", "http:///a", "http://d%62/", "ftp://db/"):
        assert normal(target) is Reason.REQUEST_REFUSED


@pytest.mark.parametrize("path", ["/a/..;/b", "/..;x", "/a/..;", "/a\\..;x", "/.;a", "/a/.;/b"])
def test_dots_with_a_parameter_deny_because_versions_differ(path: str) -> None:
    assert normal(path) is Reason.VERSIONS_DIFFER


def test_escape_that_appears_by_decoding_denies() -> None:
    assert normal("/%%32%65%%32%65/admin") is Reason.VERSIONS_DIFFER
    assert normal("/%2%65") is Reason.VERSIONS_DIFFER


def test_disabled_normalization_leaves_the_path() -> None:
    settings = RequestNormalization(insecure_disable_path_normalization=True)
    assert normal("/a/../%61\\b%00", settings) == "/a/../%61\\b%00"


def test_path_that_is_refused_is_not_redirected() -> None:
    settings = RequestNormalization(path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT")
    assert normal("/a%2Fb%00", settings) is Reason.REQUEST_REFUSED


@pytest.mark.parametrize(
    ("path", "expected"),
    [("//a", "/a"), ("/a//b///", "/a/b/"), ("//", "//"), ("///", "//"), ("/a//?b//c", "/a/?b//c"), ("/a/..//", "//")],
)
def test_merge_slashes_drops_empty_segments(path: str, expected: str) -> None:
    assert normal(path, RequestNormalization(merge_slashes=True)) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("", "/a%2F..%5cb?%2f"),
        ("KEEP_UNCHANGED", "/a%2F..%5cb?%2f"),
        ("IMPLEMENTATION_SPECIFIC_DEFAULT", "/a%2F..%5cb?%2f"),
        ("REJECT_REQUEST", Reason.REQUEST_REFUSED),
        ("UNESCAPE_AND_REDIRECT", Reason.REQUEST_REDIRECTED),
        ("UNESCAPE_AND_FORWARD", "/b?%2f"),
        ("SOMETHING_NEW", Reason.FIELD_UNKNOWN),
    ],
)
def test_escaped_slashes_follow_their_setting(action: str, expected: str | Reason) -> None:
    settings = RequestNormalization(path_with_escaped_slashes_action=action)
    assert normal("/a%2F..%5cb?%2f", settings) == expected
    assert action == "SOMETHING_NEW" or normal("/a?%2f", settings) == "/a?%2f"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("ALLOW", ("a",)),
        ("", ("a",)),
        ("DROP_HEADER", ()),
        ("REJECT_REQUEST", Reason.REQUEST_REFUSED),
        ("SOMETHING_NEW", Reason.FIELD_UNKNOWN),
    ],
)
def test_headers_with_underscores_follow_their_setting(action: str, expected: tuple[str, ...] | Reason) -> None:
    settings = RequestNormalization(headers_with_underscores_action=action)
    seen = Normalizer(settings).normalize(HTTPRequest("GET", "/", {"x_role": "a", "x-a": "b_c"}))
    assert (seen.values("x_role") if isinstance(seen, Seen) else seen) == expected


def test_unknown_setting_of_the_mesh_denies() -> None:
    settings = RequestNormalization(unknown=(("LowerCasePaths", True),))
    assert normal("/", settings) is Reason.FIELD_UNKNOWN


@pytest.mark.parametrize(
    "pairs",
    [
        [("", "a")], [("a b", "c")], [("a:b", "c")], [("é", "c")], [("a", "b\r\nc: d")], [("a", "b\0")],
        [("a\nb", "c")],
        [("host", "a"), ("Host", "b")], [("a", "x" * 70_000)], [(":path", "/")],
    ],
)  # fmt: skip
def test_malformed_headers_are_refused(pairs: list[tuple[str, str]]) -> None:
    assert Normalizer(CONSULS_DEFAULT).normalize(HTTPRequest("GET", "/", pairs)) is Reason.REQUEST_REFUSED


def test_headers_of_one_hop_are_not_seen() -> None:
    sent = [("Connection", "close, X-Secret"), ("x-secret", "a"), ("Keep-Alive", "5"), ("Upgrade", "h2c"), ("x-a", "b")]
    seen = Normalizer(CONSULS_DEFAULT).normalize(HTTPRequest("GET", "/", sent))
    assert isinstance(seen, Seen)
    assert seen.request.pairs == (("x-a", "b"),)


def test_upgrade_to_a_websocket_is_seen() -> None:
    sent = [("Connection", "Upgrade"), ("Upgrade", "WebSocket")]
    seen = Normalizer(CONSULS_DEFAULT).normalize(HTTPRequest("GET", "/", sent))
    assert isinstance(seen, Seen)
    assert seen.values("upgrade") == ("WebSocket",)


def test_usual_request_is_handed_back_as_it_came() -> None:
    request = HTTPRequest("GET", "/items/1?x=%2e", {"host": "db", "accept": "*/*"})
    seen = Normalizer(CONSULS_DEFAULT).normalize(request)
    assert isinstance(seen, Seen)
    assert seen.request is request


PIECES = st.sampled_from(
    ["/", "//", ".", "..", "%2e", "%2E", "a", "%61", "%2F", "\\", "%5c", "%zz", "{", "?", ";", "~"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@example("/a/%2e./b")
def test_every_path_is_as_the_second_opinion_says(rest: str) -> None:
    for mesh, settings in (
        (Mesh(), CONSULS_DEFAULT),
        (Mesh(merge_slashes=True), RequestNormalization(merge_slashes=True)),
        (
            Mesh(escaped_slashes="UNESCAPE_AND_FORWARD"),
            RequestNormalization(path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD"),
        ),
    ):
        found = normal(f"/{rest}", settings)
        expected = seen_by_rules(Call("GET", f"/{rest}"), mesh)
        assert expected is not None
        assert found in {expected[1], Reason.VERSIONS_DIFFER}


@given(st.lists(PIECES, max_size=12).map("".join))
def test_canonical_path_stays_as_it_is(rest: str) -> None:
    once = canonical_path(f"/{rest}".partition("?")[0])
    if once is not None and ".;" not in once and "%zz" not in once:
        assert canonical_path(once) == once


@given(st.text(), st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_no_request_raises(method: str, path: str, pairs: list[tuple[str, str]]) -> None:
    assert isinstance(Normalizer(CONSULS_DEFAULT).normalize(HTTPRequest(method, path, pairs)), Seen | Reason)


@pytest.mark.timed
@pytest.mark.parametrize(
    "piece", ["a", "/", "/.", "/..", "%2e", "/a", "\\", "%", "%%32", "{", "?", "/..;", "é", "%2F", "a.", "%25", "\0"]
)
def test_hostile_path_is_answered_in_time(piece: str) -> None:
    for size in (59_000, 100_000):
        path = "/" + (piece * size)[:size]
        for settings in (CONSULS_DEFAULT, RequestNormalization(merge_slashes=True)):
            begin = time.perf_counter()
            normal(path, settings)
            Normalizer(settings).normalize(HTTPRequest("GET", "/", [("a", path), (path, "a")]))
            assert time.perf_counter() - begin < 0.1


def test_normalization_that_is_not_known_denies_every_request() -> None:
    assert Normalizer(None).normalize(HTTPRequest("GET", "/")) is Reason.NORMALIZATION_UNKNOWN

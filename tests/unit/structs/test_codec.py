"""What all structs share: Consul's keys, null for empty, and one error for every malformed body."""

from __future__ import annotations

import json
import traceback

import msgspec
import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, Nullable, NullAsEmpty, consul_case
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import encode, reader, slices_of


class Plain(ConsulStruct, frozen=True, kw_only=True):
    service_id: str = ""
    acl_token_ttl: int = 0
    wait: Seconds | None = None


class Lists(Nullable, frozen=True, kw_only=True):
    names: NullAsEmpty[tuple[str, ...]] = ()
    meta: NullAsEmpty[dict[str, str]] = msgspec.field(default_factory=dict)
    inner: NullAsEmpty[Plain] = Plain(service_id="default")
    maybe: str | None = None
    needed: int


read_plain = reader(Plain)
read_lists = reader(Lists)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("source_name", "SourceName"),
        ("service_id", "ServiceID"),
        ("root_cert", "RootCert"),
        ("ids", "IDs"),
        ("jwt", "JWT"),
        ("csr_max_per_second", "CSRMaxPerSecond"),
        ("tls", "TLS"),
        ("x", "X"),
    ],
)
def test_keys_are_spelled_as_consul_does(name: str, key: str) -> None:
    assert consul_case(name) == key


def test_a_default_is_not_sent_and_durations_are_text() -> None:
    assert encode(Plain()) == b"{}"
    assert json.loads(encode(Plain(service_id="a", wait=Seconds(90)))) == {"ServiceID": "a", "Wait": "1m30s"}


def test_unknown_keys_are_ignored_and_missing_ones_have_their_default() -> None:
    assert read_plain(b'{"ServiceID": "a", "New": {"x": [1]}}') == Plain(service_id="a")


@pytest.mark.parametrize("body", [b'{"Needed": 1}', b'{"Names": null, "Meta": null, "Inner": null, "Needed": 1}'])
def test_null_and_absent_are_empty(body: bytes) -> None:
    found = read_lists(body)
    assert (found.names, found.meta, found.inner, found.maybe) == ((), {}, Plain(service_id="default"), None)


def test_an_empty_map_is_not_shared() -> None:
    one, other = read_lists(b'{"Meta": null, "Needed": 1}'), read_lists(b'{"Meta": null, "Needed": 1}')
    assert one.meta is not other.meta


def test_values_that_are_present_are_decoded_unchanged() -> None:
    found = read_lists(b'{"Names": ["a"], "Meta": {"b": "c"}, "Inner": {}, "Maybe": "d", "Needed": 1}')
    assert found == Lists(names=("a",), meta={"b": "c"}, inner=Plain(), maybe="d", needed=1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"true",
        b"[]",
        b'{"Needed": 1',
        b'{"Needed": 1}x',
        b'{"Needed": NaN}',
        b'{"Needed": Infinity}',
        b'{"Needed": 1.5}',
        b'{"Needed": "1"}',
        b'{"Needed": null}',
        b'{"Needed": 1, "Names": "a"}',
        b'{"Needed": 1, "Names": [null]}',
        b'{"Needed": 1, "Maybe": "\xff"}',
        b'{"Needed": 1, "Maybe": "\\ud800"}',
        b"<html>no</html>",
        b"{}",
        b"\x00",
        b"[" * 200_000,
        b'{"Needed": 1, "X": ' + b"[" * 200_000,
    ],
)
def test_body_that_is_not_the_struct_raises_unreadable_response(body: bytes) -> None:
    with pytest.raises(UnreadableResponse, match=f"{len(body)} bytes"):
        read_lists(body)


@given(st.binary(max_size=60))
def test_any_body_is_a_struct_or_that_error(body: bytes) -> None:
    try:
        read_lists(body)
    except UnreadableResponse:
        return
    json.loads(body)  # what was taken is JSON


@pytest.mark.parametrize(
    "body",
    [
        b'{"Needed": "-----BEGIN EC PRIVATE KEY-----MHcCAQEE"}',
        b'{"Needed": 1, "Maybe": "-----BEGIN EC PRIVATE KEY-----MHcCAQEE"\xff}',
        b'{"Needed": 1, "Maybe": "-----BEGIN EC PRIVATE KEY-----MHcCAQEE\xff"}',
        b'{"Needed": 1, "Names": "-----BEGIN EC PRIVATE KEY-----MHcCAQEE"}',
    ],
)
def test_a_body_is_never_quoted(body: bytes) -> None:
    with pytest.raises(UnreadableResponse) as caught:
        read_lists(body)
    shown = "".join(traceback.format_exception(caught.value))
    assert "MHc" not in f"{shown} {caught.value!r} {caught.value.__cause__!r}"


@given(
    st.builds(
        Lists,
        names=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        meta=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
        maybe=st.none() | st.text(max_size=3),
        needed=st.integers(0, 2**64 - 1),
    )
)
def test_struct_encoded_and_decoded_is_equal(value: Lists) -> None:
    assert read_lists(encode(value)) == value


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        encode(Plain(service_id="a\ud800"))


_texts = st.sampled_from(["", "x", '},{"ID":', "]", "\\", 'a"b'])
_objects = st.recursive(
    st.fixed_dictionaries({"ID": _texts}),
    lambda inner: st.fixed_dictionaries({"ID": _texts, "Parts": st.lists(inner, max_size=3)}),
    max_leaves=5,
)
_lists = st.lists(_objects | _texts | st.integers() | st.fixed_dictionaries({"Name": _texts}), max_size=8)


@given(_lists, st.integers(1, 4), st.integers(0, 60), st.sampled_from([None, 1]))
def test_slices_of_a_list_have_its_items(items: list[object], size: int, piece: int, indent: int | None) -> None:
    body = json.dumps(items, separators=None if indent else (",", ":"), indent=indent).encode()
    parts = [json.loads(part) for part in slices_of(body, size, piece)]
    assert [item for part in parts for item in part] == items
    assert all(len(part) <= size for part in parts)


@given(_lists, st.integers(0, 30), st.integers(0, 200))
def test_a_list_that_is_cut_short_is_never_read(items: list[object], piece: int, length: int) -> None:
    body = json.dumps(items, separators=(",", ":")).encode()
    short = body[: min(length, len(body) - 1)]
    with pytest.raises(UnreadableResponse, match=rf"a body of {len(short)} bytes"):
        list(slices_of(short, 2, piece))


def test_a_long_list_is_read_piece_by_piece() -> None:
    body = encode([{"ID": f"{i}"} for i in range(1000)])
    assert len(next(slices_of(body, 10_000, 1000))) < 1100

"""Entries that somebody wrote: what is wrong is named by entry and field; what Consul answers is taken as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs import ServiceIntentions, UnknownEntry, dump_entries, read_entries
from aioconsulconnect.structs.config_entries.kinds import KINDS, read_entry, read_listing

Data = Mapping[str, Any]


def written(*entries: object) -> bytes:
    return json.dumps(entries).encode()


def to_db(source: Data, **more: object) -> Data:
    return {"Kind": "service-intentions", "Name": "db", "Sources": [source], **more}


def asking(http: Data) -> Data:
    return to_db({"Name": "web", "Permissions": [{"Action": "allow", "HTTP": http}]})


GOOD = to_db({"Name": "api", "Action": "allow"})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            asking({"PathPrefx": "/"}),
            "'db'): Sources[0].Permissions[0].HTTP.PathPrefx is no known field; did you mean PathPrefix?",
        ),
        (asking({"path_exact": "/"}), "HTTP.path_exact is no known field; did you mean PathExact?"),
        (to_db({"Name": "web", "Action": "deny", "action": "allow"}), "Sources[0].action is no known field; did you"),
        (to_db({"Name": "web", "Action": "deny"}, Quux=1), "(service-intentions 'db'): Quux is no known field"),
        (
            {"Kind": "service-resolver", "Name": "r", "Subsets": {"v1": {"OnlyPasing": True}}},
            "entry 1 (service-resolver 'r'): Subsets['v1'].OnlyPasing is no known field; did you mean OnlyPassing?",
        ),
        (
            {"Kind": "service-intention", "Name": "db", "Sources": []},
            "(service-intention 'db'): Kind 'service-intention' is not known; did you mean 'service-intentions'?",
        ),
    ],
)
def test_misspelt_key_is_refused_with_its_place_and_the_known_one(entry: Data, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_entries(written(GOOD, entry))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (to_db({"Name": "web", "Action": "alow"}), "entry 1 (service-intentions 'db'): Sources[0].Action: "),
        (to_db({"Action": "allow"}), "(service-intentions 'db'): Sources[0]: Object missing required field `Name`"),
        ({"Kind": "service-defaults", "Name": 5}, "entry 1 (service-defaults): Name: Expected `str`"),
        ({"Kind": "service-resolver", "Name": "r", "ConnectTimeout": "5 seconds"}, "ConnectTimeout: '5 seconds' is no"),
        ({"kind": "mesh"}, "entry 1: Kind is missing; write kind as Kind"),
        ({"Name": "db"}, "entry 1 ('db'): Kind is missing"),
        ({"Kind": None}, "entry 1: Kind must be text"),
        (3, "no JSON array of config entries"),
    ],
)
def test_entry_that_does_not_decode_is_named_with_its_field(entry: object, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_entries(written(GOOD, entry))
    assert said in str(caught.value)
    for read in (read_listing, lambda body: read_entry(json.dumps(json.loads(body)[1]).encode())):
        with pytest.raises(UnreadableResponse, match="does not decode"):
            read(written(GOOD, entry))


def test_answer_of_consul_that_does_not_decode_names_the_entry_and_the_field() -> None:
    with pytest.raises(UnreadableResponse, match=r"entry 1 \(service-intentions 'db'\): Sources\[0\]\.Action: "):
        read_listing(written(GOOD, to_db({"Name": "web", "Action": "alow"})))


def test_all_mistakes_of_a_file_are_told_at_once_up_to_ten() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_entries(written(asking({"PathPrefx": "/"}), {"Kind": "service-defaults"}))
    assert "entry 0 (" in str(caught.value)
    assert "entry 1 (" in str(caught.value)
    with pytest.raises(InvalidRequest, match=r"entry 9 .*; and 90 more$"):
        read_entries(written(*[{"Kind": "service-defaults"}] * 100))


@pytest.mark.parametrize("text", [b"", b"{}", b"[{", b"[1]", b"\xff", b"\xef\xbb\xbf[]", b"null", b"[" * 100_000])
def test_text_that_is_no_array_of_entries_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no JSON array of config entries"):
        read_entries(text)


def test_entries_of_a_newer_consul_come_back_from_a_dump_when_that_is_said() -> None:
    newer = to_db({"Name": "web", "Action": "allow", "Priority": 7}, Invented={"a": [None]})
    found = read_listing(written(newer, {"Kind": "llm-agent", "Name": "x"}))
    kept = dump_entries(found)
    with pytest.raises(InvalidRequest, match=r"Invented is no known field.*Sources\[0\]\.Priority.*'llm-agent'"):
        read_entries(kept)
    assert read_entries(kept, keep_unknown=True) == found
    assert [type(entry) for entry in found] == [ServiceIntentions, UnknownEntry]


def test_dump_is_without_the_hash_which_the_command_refuses() -> None:
    found = read_listing(
        written(to_db({"Name": "web"}, Hash=1, ModifyIndex=7), {"Kind": "new", "Name": "x", "Hash": 2})
    )
    known, unknown = json.loads(dump_entries(found))
    assert known == {"Kind": "service-intentions", "Name": "db", "Sources": [{"Name": "web"}], "ModifyIndex": 7}
    assert unknown == {"Kind": "new", "Name": "x"}


@pytest.mark.parametrize("kind", ["api-gateway", "http-route", "inline-certificate", "bound-api-gateway"])
def test_kind_of_consul_without_a_struct_is_taken(kind: str) -> None:
    (entry,) = read_entries(written({"Kind": kind, "Name": "x", "Anything": 1}))
    assert isinstance(entry, UnknownEntry)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**64) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.sampled_from([*sorted(KINDS), "nobody-knows"]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_json_is_entries_or_refused(data: object, kind: str, keep: bool) -> None:
    for body in (data, [data], [{"Kind": kind, "Name": "x", "Sources": data, "Config": data, "Listeners": data}]):
        try:
            read_entries(json.dumps(body).encode(), keep_unknown=keep)
        except InvalidRequest as error:
            assert str(error)  # noqa: PT017

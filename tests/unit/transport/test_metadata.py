"""Headers in, Meta out."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.transport.metadata import Meta


def test_meta_of_a_full_answer() -> None:
    headers = {
        "x-consul-index": "12",
        "x-consul-contenthash": "abc",
        "x-consul-knownleader": "true",
        "x-consul-lastcontact": "1500",
        "x-consul-effective-consistency": "stale",
        "x-consul-query-backend": "streaming",
        "x-cache": "HIT",
        "age": "3",
        "x-consul-default-acl-policy": "deny",
        "x-consul-results-filtered-by-acls": "true",
    }
    assert Meta.of(headers) == Meta(
        index=12,
        content_hash="abc",
        known_leader=True,
        last_contact=1.5,
        consistency="stale",
        backend="streaming",
        cache="HIT",
        age=3,
        default_acl_policy="deny",
        filtered_by_acls=True,
    )


def test_meta_of_an_answer_that_says_nothing() -> None:
    assert Meta.of({}) == Meta()


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("0", 0),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", None),
        ("1" * 21, None),
        ("-1", None),
        ("1.5", None),
        (" 1", None),
        ("", None),
        ("٣", None),
        ("1_0", None),
    ],
)
def test_an_index_is_an_unsigned_64_bit_number_or_unknown(text: str, index: int | None) -> None:
    assert Meta.of({"x-consul-index": text}).index == index


@given(
    st.dictionaries(
        st.sampled_from(["x-consul-index", "age", "x-consul-knownleader", "x-consul-lastcontact"]), st.text()
    )
)
def test_no_header_spoils_another(headers: dict[str, str]) -> None:
    meta = Meta.of({**headers, "x-cache": "MISS", "x-consul-contenthash": ""})
    assert (meta.cache, meta.content_hash) == ("MISS", None)

"""Durations: both of Consul's notations in, text out, seconds in between."""

from __future__ import annotations

import pickle
import traceback
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.agent import Check
from aioconsulconnect.structs.codec.duration import go_text, seconds_of
from aioconsulconnect.structs.codec.json_body import encode, reader
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.config_entries.traffic import CookieConfig, ServiceResolver


@pytest.mark.parametrize(
    ("wire", "seconds"),
    [
        ("5s", 5), ("1m30s", 90), ("8760h0m0s", 31_536_000), ("500ms", 0.5), ("1.5h", 5400), ("10µs", 1e-5),
        ("-2s", -2), ("", 0), ("0", 0), ("0s", 0), (30_000_000_000, 30), (0, 0), (1.5e9, 1.5),
    ],
)  # fmt: skip
def test_text_and_nanoseconds_are_read(wire: str | float, seconds: float) -> None:
    assert seconds_of(wire) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize("wire", ["5", "s", "5 s", "5x", "1h-2m", True, None, [], 10**400, "9" * 400 + "h", 2.0**63])
def test_malformed_duration_is_refused(wire: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(wire)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (90, "1m30s"), (3600, "1h0m0s"), (0.5, "0.5s"), (1e-9, "0.000000001s"), (-90, "-1m30s"), (0, "0s")],
)
def test_text_is_written(seconds: float, text: str) -> None:
    assert go_text(seconds) == text


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e10])
def test_duration_out_of_consuls_range_is_not_written(seconds: float) -> None:
    with pytest.raises(InvalidRequest):
        go_text(seconds)


@given(st.integers(-(10**15), 10**15))
def test_nanoseconds_survive(nanoseconds: int) -> None:
    assert round(seconds_of(go_text(seconds_of(nanoseconds))) * 10**9) == nanoseconds


def test_a_plain_number_of_seconds_never_travels_as_nanoseconds() -> None:
    assert plain(Check(ttl=30, interval=2.5)) == {"TTL": "30s", "Interval": "2.5s"}
    read = reader(CookieConfig)(b'{"TTL": 30000000000}')
    assert read == CookieConfig(ttl=30)
    assert pickle.loads(pickle.dumps(read)) == read
    assert encode(pickle.loads(pickle.dumps(read))) == b'{"TTL":"30s"}'


def test_class_of_a_duration_has_no_members() -> None:
    kind: Any = type(CookieConfig(ttl=30).ttl)
    assert (list(kind), len(kind), hasattr(kind, "x")) == ([], 0, False)


@pytest.mark.parametrize("given", ["5s", timedelta(seconds=5), True, [5], f"-----BEGIN PRIVATE KEY-----\n{'x' * 40}"])
def test_duration_that_is_no_number_is_refused_by_its_field(given: Any) -> None:
    with pytest.raises(InvalidRequest, match="connect_timeout takes a number of seconds") as caught:
        ServiceResolver(name="x", connect_timeout=given)
    assert "xxx" not in "".join(traceback.format_exception(caught.value))

"""Arguments of another kind: our errors where the program is wrong, denials for what strangers send."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.authorization import allow, deny, intent, judged, table_of

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.source import Peer
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import Closed, InvalidRequest
from aioconsulconnect.structs.intentions import HeaderPermission
from aioconsulconnect.structs.spiffe import SpiffeId

Wrong = Any


async def awaited(_: object) -> None:
    """No hook: nobody would await it."""


WRONG_CHOICES: list[dict[str, Wrong]] = [
    {"max_age": "5"}, {"max_age": -1}, {"max_age": float("nan")}, {"ready_timeout": "5"}, {"peers": ["east"]},
    {"mode": "strict"}, {"default": "maybe"}, {"on_decision": 5}, {"on_decision": awaited},
]  # fmt: skip


@pytest.mark.parametrize("choices", WRONG_CHOICES, ids=str)
def test_option_that_there_is_not_is_refused(choices: dict[str, Wrong]) -> None:
    with pytest.raises(InvalidRequest):
        Consul().authorizer("db", **choices)


@pytest.mark.parametrize("destination", [["db", "cache"], 5, None, "", "*", "a//b"], ids=repr)
def test_destination_that_is_no_name_is_refused(destination: Wrong) -> None:
    with pytest.raises(InvalidRequest):
        Consul().authorizer(destination)


@pytest.mark.parametrize("fields", [{"name": ""}, {"trust_domain": ""}, {"trust_domain": None}, {"name": "a/b"}])
def test_peer_without_a_name_or_a_domain_is_refused(fields: dict[str, Wrong]) -> None:
    with pytest.raises(InvalidRequest):
        Peer(**{"name": "east", "trust_domain": "b.consul", **fields})


@pytest.mark.parametrize("name", [["x"], 5, None])
def test_spiffe_id_is_made_of_texts(name: Wrong) -> None:
    with pytest.raises(InvalidRequest):
        SpiffeId(trust_domain="a.consul", datacenter="dc1", name=name)


@pytest.mark.parametrize("method", ["GET ", "get\n", "GET/", "\x00", "\ud800", ""])
def test_method_that_is_no_token_is_refused(method: str) -> None:
    rules = deny(path_prefix="/", methods=("GET",)), allow(path_prefix="/")
    assert judged(rules, "/", method=method).reason is Reason.REQUEST_REFUSED
    assert judged(rules, "/", method="PURGE").reason is Reason.PERMISSION


def test_half_of_a_surrogate_pair_is_not_judged() -> None:
    verdict = judged((allow(HeaderPermission(name="x-a", regex="a+")),), "/", [("x-a", "\ud800")])
    assert verdict.reason is Reason.REGEX_UNKNOWN


def test_many_lines_of_a_header_take_time_in_proportion() -> None:
    table = table_of(intent("web", "db", (allow(HeaderPermission(name="x-b", exact="a")),)))

    def seconds(lines: int) -> float:
        request = HTTPRequest("GET", "/", [("a", "")] * lines)
        began = time.process_time()
        table.check("web", request=request)
        return time.process_time() - began

    few, many = (min(seconds(lines) for _ in range(5)) for lines in (5_000, 20_000))
    assert many < 10 * few  # 16 times where each line is copied for the next


async def test_changes_before_it_is_entered_are_refused() -> None:
    async with Consul("http://127.0.0.1:1") as consul:
        with pytest.raises(Closed):
            await anext(consul.authorizer("db").changes())

"""How a request is completed: the options of the call over those of the client, and what would be ignored refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.canned import CannedSender, polls_of

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import InvalidRequest, NotFound
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec


def decode(response: Response) -> tuple[str, ...]:
    return tuple(response.text.split())


REQUEST = Request(method="GET", path="/v1/x", decode=decode, accepted_options=frozenset({"datacenter", "consistency"}))
SPEC = WatchSpec[tuple[str, ...], str](items=lambda words: {word: word for word in words})


@pytest.fixture
async def group(sender: CannedSender) -> AsyncIterator[Group]:
    async with polls_of(sender) as polls:
        yield Group(sender, polls, Options(datacenter="dc2", namespace="ns1", cached=True))


async def test_a_call_has_the_options_of_the_client_where_they_are_taken(sender: CannedSender, group: Group) -> None:
    sender.answers = [b"a b", b"c"]
    assert await group._call(REQUEST, None) == ("a", "b")
    assert await group._call(REQUEST, Options(datacenter="dc3", consistency="stale")) == ("c",)
    assert [asked[1] for asked in sender.wire] == ["/v1/x?dc=dc2", "/v1/x?dc=dc3&stale"]


async def test_an_option_of_the_call_that_would_be_ignored_raises_before_anything_is_sent(
    sender: CannedSender, group: Group
) -> None:
    with pytest.raises(InvalidRequest, match="namespace"):
        await group._call(REQUEST, Options(namespace="ns1"))
    with pytest.raises(InvalidRequest, match="cached"):
        group._query(REQUEST, SPEC, Options(cached=True))
    assert sender.asked == []


async def test_a_query_reads_once_for_each_await(sender: CannedSender, group: Group) -> None:
    sender.answers = [b"a", b"b", (404, b"Intention not found")]
    query = group._query(REQUEST, SPEC, None)
    assert sender.asked == []
    assert (await query, await query) == (("a",), ("b",))
    with pytest.raises(NotFound):
        await query


async def test_without_any_options_the_request_is_sent_as_it_is(sender: CannedSender) -> None:
    sender.answers = [b""]
    async with polls_of(sender) as polls:
        await Group(sender, polls, NO_OPTIONS)._call(REQUEST, None)
    assert sender.asked[0] is REQUEST

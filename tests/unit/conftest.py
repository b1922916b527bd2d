"""A sender that answers from a list, and polls on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.canned import CannedSender, polls_of

from aioconsulconnect.watch.poller_pool import PollerPool


@pytest.fixture
async def sender() -> CannedSender:
    return CannedSender()


@pytest.fixture
async def polls(sender: CannedSender) -> AsyncIterator[PollerPool]:
    async with polls_of(sender) as polls:
        yield polls

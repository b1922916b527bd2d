"""The endpoints of any path, over a sender that answers from a list."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.canned import CannedSender, polls_of

from aioconsulconnect.endpoints.any_path import AnyPath
from aioconsulconnect.transport.settings.options import NO_OPTIONS


@pytest.fixture
async def api(sender: CannedSender) -> AsyncIterator[AnyPath]:
    async with polls_of(sender) as polls:
        yield AnyPath(sender, polls, NO_OPTIONS)

"""What tests wait for at the agent in the process."""

from __future__ import annotations

import asyncio

from aioconsulconnect.testing import Agent


async def polling(agent: Agent) -> None:
    """Wait until a poll waits at the agent: the one that will meet what comes next."""
    async with asyncio.timeout(5):
        while not agent.polls:
            await asyncio.sleep(0.005)

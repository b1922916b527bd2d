"""The command `test-agent`: the in-process agent, served for programs in any language."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from aioconsulconnect.cli.throwaway import needs_testing
from aioconsulconnect.errors import SettingsError
from aioconsulconnect.version import __version__

if TYPE_CHECKING:
    from aioconsulconnect.testing import Policy, Version


async def test_agent(
    *, version: Version, host: str, port: int, acl: bool, default_policy: Policy | None, token: str | None
) -> None:
    """
    Run an in-process agent, print how to reach it, and serve until the task is cancelled.

    - `version`: the version of Consul to play.
    - `host`, `port`: the address to listen on; port 0 takes a free one.
    - `acl`: enable ACLs.
    - `default_policy`: the default policy of the ACLs.
    - `token`: the management token; None makes one.

    Raises SettingsError where the extra `aioconsulconnect[testing]` is not installed, where the arguments contradict
    each other, or where the address cannot be had.
    """
    with needs_testing("the in-process agent", "to run it"):
        from aioconsulconnect.testing import Agent  # noqa: PLC0415 - its extra may not be there
    try:
        agent = Agent(
            version, host=host, port=port, acl=acl, default_policy=default_policy, management_token=token
        ).start()
    except (OSError, ValueError) as error:
        raise SettingsError(f"the agent cannot listen on {host} port {port}: {error}") from error
    try:
        print(f"aioconsulconnect {__version__} plays an agent of Consul {agent.version} at {agent.url}")
        print("It is for tests: one node, no gossip, no DNS, no proxies, and what it holds is gone at its end.")
        print("What it does not model it answers with 501 and the reason; those requests are shown here.")
        for name, value in agent.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print("Ctrl-C ends it.", flush=True)
        await asyncio.Event().wait()
    finally:
        agent.stop()

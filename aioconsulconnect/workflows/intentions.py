"""Intentions all at once: export, plan, import (Consul 1.9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aioconsulconnect.endpoints import intentions
from aioconsulconnect.transport.options import Options

if TYPE_CHECKING:
    from aioconsulconnect.endpoints.config import Config
    from aioconsulconnect.structs.config_entries.access import ServiceIntentions
    from aioconsulconnect.workflows.plan import Plan

# Config entries have many structs: they are imported when a program first uses them.


class Intentions(intentions.Intentions):
    """The endpoint of intentions, with what takes several calls."""

    async def export(self, *, options: Options | None = None) -> tuple[ServiceIntentions, ...]:
        """
        All intentions that the token may see, one entry for each destination (`GET /v1/config/service-intentions`).

        `dump_entries` writes them to JSON, `read_entries` reads them again.
        """
        return await self._config.list("service-intentions", options=options)

    async def plan(
        self, desired: Iterable[ServiceIntentions], *, prune: bool = True, options: Options | None = None
    ) -> Plan:
        """
        What must change for the intentions to become `desired`: to be printed, and then applied, or not.

        With `prune` whatever is not desired goes, so with a token that sees only a part, only that part is managed.
        Nothing is written here. InvalidRequest for entries that Consul would refuse, or a destination given twice.
        """
        from aioconsulconnect.workflows.plan import make_plan  # noqa: PLC0415 - see above

        return await make_plan(self._config, desired, prune=prune, options=options)

    async def import_(self, entries: Iterable[ServiceIntentions], *, options: Options | None = None) -> Plan:
        """Write these entries, leave all others alone, and tell what was changed; errors as of `Plan.apply`."""
        plan = await self.plan(entries, prune=False, options=options)
        await plan.apply()
        return plan

    @property
    def _config(self) -> Config:
        from aioconsulconnect.endpoints.config import Config  # noqa: PLC0415 - see above

        return Config(self._sender, self._pool, self._defaults)

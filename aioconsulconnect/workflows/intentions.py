"""Export, plan and import of all intentions at once (Consul 1.9)."""

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
    """The endpoints of intentions, with export, plan and import of all intentions at once."""

    async def export(self, *, options: Options | None = None) -> tuple[ServiceIntentions, ...]:
        """
        Return all intentions that the token may see, one entry for each destination.

        `GET /v1/config/service-intentions`, Consul 1.9. `aioconsulconnect.structs.dump_entries` writes the entries as
        JSON, `read_entries` reads them again. `options` are those of the call.
        """
        return await self._config.list("service-intentions", options=options)

    async def plan(
        self, desired: Iterable[ServiceIntentions], *, prune: bool = True, options: Options | None = None
    ) -> Plan:
        """
        Return the changes that make the stored intentions equal to `desired`.

        Nothing is written: print the plan, then call `Plan.apply`, or not. Needs Consul 1.9
        (`GET /v1/config/service-intentions`).

        - `desired`: one entry for each destination.
        - `prune`: True (the default) to remove the stored entries that are not in `desired`. Only entries that the
          token may see are found, so with a restricted token only that part is managed.
        - `options`: options of the read, and of the writes of `Plan.apply`.

        Raises InvalidRequest for entries that Consul would refuse, or a destination that is given twice.
        """
        from aioconsulconnect.workflows.plan import make_plan  # noqa: PLC0415 - see above

        return await make_plan(self._config, desired, prune=prune, options=options)

    async def import_(self, entries: Iterable[ServiceIntentions], *, options: Options | None = None) -> Plan:
        """
        Write these entries, leave all others alone, and return the plan that was applied.

        Needs Consul 1.9 (`GET /v1/config/service-intentions`, `PUT /v1/config`).

        - `entries`: one entry for each destination. An entry that is stored with the same meaning is not written.
        - `options`: options of the read and of the writes.

        Raises what `plan` and `Plan.apply` raise.
        """
        plan = await self.plan(entries, prune=False, options=options)
        await plan.apply()
        return plan

    @property
    def _config(self) -> Config:
        from aioconsulconnect.endpoints.config import Config  # noqa: PLC0415 - see above

        return Config(self._sender, self._pool, self._defaults)

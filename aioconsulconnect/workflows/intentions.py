"""Export, plan and import of all intentions at once (Consul 1.9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from aioconsulconnect.endpoints import intentions
from aioconsulconnect.transport.settings.options import Options

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
        self,
        desired: Iterable[ServiceIntentions],
        *,
        prune: bool | Literal["unchecked"] = True,
        keep_unknown: bool = False,
        options: Options | None = None,
    ) -> Plan:
        """
        Return the changes that make the stored intentions equal to `desired`.

        Nothing is written: print the plan, then call `Plan.apply`, or not. Needs Consul 1.9
        (`GET /v1/config/service-intentions`). The plan says what of the stored entries the token sees, and what Consul
        would refuse: permissions for a service whose protocol is tcp, a jwt-provider that is not there, a namespace
        where there is none.

        - `desired`: one entry for each destination.
        - `prune`: True (the default) to remove the stored entries that are not in `desired`. Only entries that the
          token may see are found; where these may not be all, the plan says so, and `Plan.apply` wants `partial=True`.
          "unchecked" removes also with Consul 1.9 and 1.10, which have no check-and-set for it.
        - `keep_unknown`: True to send fields that this library does not know. Default: those alone that Consul shows in
          the same place of a stored entry, so that it knows them; others are most often misspelt.
        - `options`: options of the reads, and of the writes of `Plan.apply`; for these `consistency` and `datacenter`
          do not count, since they go to the primary datacenter, where the index of another one does not match.

        Raises InvalidRequest for entries that every Consul would refuse, or which no path would lead to later, and for
        a destination that is given twice.
        """
        from aioconsulconnect.workflows.planner import Planner  # noqa: PLC0415 - see above

        planner = Planner(self._sender, self._pool, self._defaults)
        return await planner.plan(desired, prune=prune, keep_unknown=keep_unknown, options=options)

    async def import_(
        self,
        entries: Iterable[ServiceIntentions],
        *,
        partial: bool = False,
        keep_unknown: bool = False,
        options: Options | None = None,
    ) -> Plan:
        """
        Write these entries, leave all others alone, and return the plan that was applied.

        Needs Consul 1.9 (`GET /v1/config/service-intentions`, `PUT /v1/config`).

        - `entries`: one entry for each destination. An entry that is stored with the same meaning is not written.
        - `partial`: True to leave out entries of destinations that the token may not read (`Plan.hidden`). Default:
          PermissionDenied, with nothing written.
        - `keep_unknown`: as for `plan`.
        - `options`: options of the reads and of the writes, as for `plan`.

        Raises what `plan` and `Plan.apply` raise.
        """
        plan = await self.plan(entries, prune=False, keep_unknown=keep_unknown, options=options)
        await plan.apply(partial=partial)
        return plan

    @property
    def _config(self) -> Config:
        from aioconsulconnect.endpoints.config import Config  # noqa: PLC0415 - see above

        return Config(self._sender, self._pool, self._defaults)

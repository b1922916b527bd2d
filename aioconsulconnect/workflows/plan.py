"""Plan of the changes that make the stored intentions equal to the desired ones, and its application."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.errors import (
    Conflict,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    PermissionDenied,
    Unsupported,
)
from aioconsulconnect.structs.config_entries.access import ServiceIntentions
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.workflows.plan_text import EntryChange, lines_of, on_one_line

KIND: Final = "service-intentions"
Prune = bool | Literal["unchecked"]


class Obstacle(NamedTuple):
    """
    Cause for which Consul would refuse a part of a plan.

    - `text`: the cause, and what to do.
    - `min_version`: Consul version that would not refuse it; empty where that is no matter of versions.
    """

    text: str
    min_version: str = ""


class View(NamedTuple):
    """
    Part of the stored entries that a plan was made from.

    - `filtered`: Consul said that it left out what the token may not read (1.11).
    - `anonymous`: no token was sent, and then Consul leaves out entries without saying so.
    - `incomplete`: why some entries may be left out; empty where it is known that all were seen.
    """

    filtered: bool = False
    anonymous: bool = False
    incomplete: str = ""


_ALL = View()


def place_of(entry: ServiceIntentions, options: Options | None) -> Options:
    """Return `options` with the namespace and partition of `entry`."""
    where = Options(namespace=entry.namespace or None, partition=entry.partition or None)
    return where.over(options or NO_OPTIONS)


def _of_writes(options: Options | None) -> Options | None:
    """Return those of the options that a write takes too; it goes to the leader of the primary datacenter."""
    if options is None:
        return None
    return Options(
        namespace=options.namespace, partition=options.partition, token=options.token, timeout=options.timeout
    )


class Plan:
    """
    Changes that turn the stored intentions into the desired ones.

    A plan is true if there is anything to do. `str(plan)` has one line for each intention: `+` added, `-` removed, `~`
    changed, with old and new; a line without a source is about all sources of the destination. After them stand, with
    `!`, what keeps `apply` from writing, and with `?` what is not certain.

    - `added`: entries to create.
    - `changed`: pairs of the stored entry and the one to replace it.
    - `removed`: stored entries to delete.
    - `hidden`: desired entries of destinations that the token may not read: what would change is not known.
    - `obstacles`: causes for which Consul would refuse what is to be written; their texts are in `problems`.
    - `notes`: texts of what is not certain.
    - `view`: the part of the stored entries that was seen. `filtered`, `anonymous` and `incomplete` tell of it.
    - `prune`: what was asked for: the removal of stored entries that are not desired.
    - `config`, `options`: endpoints and options with which `apply` writes; those that only a read takes are left out.
    """

    def __init__(
        self,
        config: Config,
        options: Options | None,
        *,
        added: tuple[ServiceIntentions, ...],
        changed: tuple[tuple[ServiceIntentions, ServiceIntentions], ...],
        removed: tuple[ServiceIntentions, ...],
        hidden: tuple[ServiceIntentions, ...] = (),
        obstacles: tuple[Obstacle, ...] = (),
        notes: tuple[str, ...] = (),
        view: View = _ALL,
        prune: Prune = False,
    ) -> None:
        self._config = config
        self._options = _of_writes(options)
        self.added = added
        self.changed = changed
        self.removed = removed
        self.hidden = hidden
        self.notes = notes
        self._obstacles = obstacles
        self._view = view
        self._prune = prune

    @property
    def problems(self) -> tuple[str, ...]:
        """The texts of all for which Consul would refuse what is to be written."""
        return tuple(obstacle.text for obstacle in self._obstacles)

    @property
    def filtered(self) -> bool:
        """True if Consul said that it left out stored entries which the token may not read (Consul 1.11)."""
        return self._view.filtered

    @property
    def anonymous(self) -> bool:
        """True if no token was sent; then Consul leaves out entries without saying so."""
        return self._view.anonymous

    @property
    def incomplete(self) -> str:
        """The reason why stored entries may be missing in the plan; empty if it is known that all were seen."""
        return self._view.incomplete

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.hidden)

    def check(self, *, partial: bool = False) -> None:
        """
        Raise the error with which `apply` would refuse this plan before it writes anything.

        - `partial`: as for `apply`.

        Raises PermissionDenied where the token does not see all that the plan is about, Unsupported where this Consul
        is too old for it, and InvalidRequest for other `problems`.
        """
        if not partial and (doubts := self._doubts()):
            raise PermissionDenied(
                f"nothing was written: {'; '.join(doubts)}. Give a token that may read all of it, or partial=True to"
                " manage the part that is seen"
            )
        if self._obstacles:
            message = f"nothing was written: {'; '.join(self.problems)}"
            if version := next((each.min_version for each in self._obstacles if each.min_version), ""):
                raise Unsupported(message, min_version=version)
            raise InvalidRequest(message)

    async def apply(self, *, partial: bool = False) -> None:
        """
        Write the changes, each entry by check-and-set against what was stored when the plan was made.

        The entries are written one after the other: Consul has no write of several entries that is applied as a whole.
        If somebody changed an entry meanwhile, it raises Conflict. A note on any error says how many changes were
        applied before; a new plan goes on from there.

        Removals need Consul 1.11 (check-and-set on `DELETE /v1/config`). That is checked before anything is written,
        and raises Unsupported. With `prune="unchecked"` each entry is read once more on an older Consul and deleted
        then, so that a change made in between is lost.

        - `partial`: True to manage only what the token sees: `hidden` entries are left alone, and of the others only
          those that were seen are removed. Default: PermissionDenied, with nothing written, where entries are `hidden`,
          or where entries are to be removed and it is not certain that all were seen (`incomplete`).

        Raises what `check` raises, before it writes.
        """
        self.check(partial=partial)
        checked = not self.removed or await self._deletes_checked()
        done = 0
        try:
            for entry in self.added:
                await self._config.write(entry, cas=0, options=self._options)
                done += 1
            for old, new in self.changed:
                await self._config.write(new, cas=old.modify_index, options=self._options)
                done += 1
            for entry in self.removed:
                await self._remove(entry, checked=checked)
                done += 1
        except ConsulError as error:
            total = len(self.added) + len(self.changed) + len(self.removed)
            error.add_note(f"{done} of {total} changes of the plan were applied before")
            raise

    async def _deletes_checked(self) -> bool:
        try:
            await self._config.require_checked_delete(options=self._options)
        except Unsupported:
            if self._prune != "unchecked":
                raise
            return False
        return True

    async def _remove(self, entry: ServiceIntentions, *, checked: bool) -> None:
        where = place_of(entry, self._options)
        if checked:
            await self._config.delete(KIND, entry.name, cas=entry.modify_index, options=where)
            return
        now = await self._config.read(KIND, entry.name, options=where)
        if now is None:
            return
        if now.modify_index != entry.modify_index:
            raise Conflict(
                f"{KIND} {entry.name!r} was not deleted: it was changed since the plan was made",
                reason=ErrorReason.CHANGED_MEANWHILE,
            )
        await self._config.delete(KIND, entry.name, options=where)

    def _doubts(self) -> list[str]:
        doubts = [f"{entry.name}: the token may not read its intentions" for entry in self.hidden]
        if self._prune and self.incomplete:
            doubts.append(f"entries to remove may be missing: {self.incomplete}")
        return doubts

    def __str__(self) -> str:
        added: list[EntryChange] = [(None, entry) for entry in self.added]
        removed: list[EntryChange] = [(entry, None) for entry in self.removed]
        nothing = "nothing to do among what is seen" if self.incomplete else "nothing to do"
        lines = lines_of([*added, *self.changed, *removed]) if self else [nothing]
        lines += [f"! {on_one_line(text)}" for text in (*self.problems, *self._doubts())]
        if self.incomplete and not self._prune:
            lines.append(f"? other destinations may have intentions that are not seen: {self.incomplete}")
        return "\n".join([*lines, *(f"? {on_one_line(text)}" for text in self.notes)])

    def __repr__(self) -> str:
        counts = f"{len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed"
        more = f", {len(self.hidden)} hidden" if self.hidden else ""
        return f"<Plan {counts}{more}{', incomplete' if self.incomplete else ''}>"

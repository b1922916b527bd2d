"""
Explanation of a decision, as data and in words.

It tells what matched, what was shadowed, and what the other mode would say.
"""

from __future__ import annotations

import msgspec

from aioconsulconnect.authorization.rules.decision import unshadowed
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rule import intention_of
from aioconsulconnect.authorization.rules.settings import Mode
from aioconsulconnect.authorization.rules.source import Caller
from aioconsulconnect.authorization.rules.verdict import Verdict, describe
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import Intention


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """
    Explanation of a verdict; `str()` gives it in words.

    - `verdict`: the verdict.
    - `mode`: the mode in which it was found.
    - `matched`: intentions whose source and destination match, the one with the highest precedence first.
    - `shadowed`: those of them that have no effect in this mode.
    - `other`: verdict of the other mode.
    """

    verdict: Verdict
    mode: Mode
    matched: tuple[Intention, ...]
    shadowed: tuple[Intention, ...]
    other: Verdict

    @property
    def modes_differ(self) -> bool:
        """True if one mode allows and the other denies."""
        return self.verdict.allowed is not self.other.allowed

    def __str__(self) -> str:
        """The explanation in words, one line for each part."""
        lines = [f"{self.verdict} (mode {self.mode})"]
        lines += [f"matches: {describe(one)}" for one in self.matched if one not in self.shadowed]
        lines += [f"shadowed: {describe(one)}" for one in self.shadowed]
        if self.modes_differ:
            lines.append(f"mode {_other(self.mode)} differs: {self.other}")
        return "\n".join(lines)


def explain(
    table: Table,
    source: Caller,
    destination: str | None = None,
    request: HTTPRequest | None = None,
    *,
    claims: Claims | None = None,
) -> Explanation:
    """
    Explain a decision.

    - `table`: the table that decides.
    - `source`, `destination`, `request`, `claims`: as for `Table.check`.
    """
    mode = table.settings.mode
    found = table.find(source, destination, mode)
    matched = () if isinstance(found, Verdict) else tuple(intention_of(one) for one in found)
    active = matched[:1]
    if mode == "envoy" and not isinstance(found, Verdict):
        active = tuple(intention_of(one) for one in unshadowed(found))
    return Explanation(
        verdict=table.check(source, destination, request, claims=claims),
        mode=mode,
        matched=matched,
        shadowed=tuple(one for one in matched if one not in active),
        other=table.judge(source, destination, request, claims, _other(mode)),
    )


def _other(mode: Mode) -> Mode:
    return "envoy" if mode == "consul" else "consul"

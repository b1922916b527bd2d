"""The checks of the agent's services, and what runs them: a time limit, another service, a dial.

TTL and alias checks run as they do in Consul. TCP checks dial, the first time after a random part of their interval.
The catalog learns of a new status at once; of a new output alone Consul tells it only minutes later, the box never.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from aioconsulconnect.testing.gojson import Object, text
from aioconsulconnect.testing.http import Refused
from aioconsulconnect.testing.schema import parse_duration

_DIAL_TIMEOUT: Final = 10.0
_RUN: Final = {"TTL": "ttl", "TCP": "tcp", "AliasService": "alias"}


@dataclass(slots=True, eq=False)
class Check:
    """One check, as the agent has it; ``shown`` is what the catalog has of status and output."""

    identifier: str
    name: str
    service_id: str
    kind: str
    definition: Object
    status: str = "critical"
    output: str = ""
    notes: str = ""
    created: int = 0
    modified: int = 0
    shown: tuple[str, str] = ("critical", "")
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


def make_check(definition: Object, service_id: str, service_name: str, place: str) -> Check:
    """A check by its definition; ``place`` is the id that it gets where it names none."""
    kind = next((kind for member, kind in _RUN.items() if definition.get(member)), None)
    if kind is None or text(definition, "AliasNode"):
        raise Refused(501, "The in-process agent runs no other checks than TTL, TCP and alias checks of services")
    status = text(definition, "Status") or "critical"
    return Check(
        text(definition, "CheckID") or place,
        text(definition, "Name") or f"Service '{service_name}' check",
        service_id,
        kind,
        definition,
        status=status,
        notes=text(definition, "Notes"),
        shown=(status, ""),
    )


class Runner:
    """Runs checks, and says what came out."""

    def __init__(self, report: Callable[[Check, str, str], None]) -> None:
        self._report = report
        self._dialling: set[asyncio.Task[None]] = set()

    def start(self, check: Check) -> None:
        """Run a check from now on."""
        if check.kind == "ttl":
            self._limit(check)
        elif check.kind == "tcp":
            interval = parse_duration(text(check.definition, "Interval")) / 1e9
            self._later(check, random.uniform(0, interval), self._dial)

    def stop(self, check: Check) -> None:
        """Run it no more."""
        if check.timer is not None:
            check.timer.cancel()
            check.timer = None

    def touched(self, check: Check, status: str, output: str) -> None:
        """Take a report from outside for a check with a time limit, and begin it anew."""
        self._report(check, status, output)
        self._limit(check)

    async def close(self) -> None:
        """End what runs; timers are with their checks."""
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)

    def _later(self, check: Check, seconds: float, run: Callable[[Check], None]) -> None:
        self.stop(check)
        check.timer = asyncio.get_running_loop().call_later(seconds, run, check)

    def _limit(self, check: Check) -> None:
        self._later(check, parse_duration(text(check.definition, "TTL")) / 1e9, self._expire)

    def _expire(self, check: Check) -> None:
        last = f" (last output before timeout follows): {check.output}" if check.output else ""
        self._report(check, "critical", f"TTL expired{last}")

    def _dial(self, check: Check) -> None:
        task = asyncio.get_running_loop().create_task(self._dialled(check))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dialled(self, check: Check) -> None:
        address = text(check.definition, "TCP")
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(_DIAL_TIMEOUT):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            status, output = "passing", f"TCP connect {address}: Success"
        except TimeoutError:
            status, output = "critical", f"dial tcp {address}: i/o timeout"
        except (OSError, ValueError):
            status, output = "critical", f"dial tcp {address}: connect: connection refused"
        if check.timer is not None:  # else it was stopped meanwhile
            self._report(check, status, output)
            self._later(check, parse_duration(text(check.definition, "Interval")) / 1e9, self._dial)


def aliased(checks: Iterable[Check]) -> tuple[str, str]:
    """The status and output of an alias of a service with these checks."""
    status, output = "passing", "No checks found."
    for check in checks:
        if check.status == "passing":
            output = output if status == "warning" else "All checks passing."
            continue
        status, output = check.status, f'Aliased check "{check.name}" failing: {check.output}'
        if status == "critical":
            break
    return status, output

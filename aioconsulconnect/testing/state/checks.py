"""The checks of the agent's services, and their runner.

TTL and alias checks run as they do in Consul. TCP and HTTP checks dial, at first after a random part of their interval.
UDP, gRPC and HTTP/2 checks stay as they are before their first run. The catalog learns of a new status at once; of
a new output alone a real agent tells it minutes later, this one never.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.go_json.values import Object, number, text
from aioconsulconnect.testing.protocol.refusals import Refused

_DIAL_TIMEOUT: Final = 10.0
_MOST_OUTPUT: Final = 4096
_SHORTEST_INTERVAL: Final = 1.0
SOONEST_REMOVAL = 60.0
"""The seconds for which a check must be critical at least before its service is removed."""
BETWEEN_LOOKS = 30.0
"""The seconds between two looks of the agent for services to remove."""
_KINDS: Final = (
    ("TTL", "ttl"),
    ("GRPC", "grpc"),
    ("HTTP", "http"),
    ("TCP", "tcp"),
    ("UDP", "udp"),
    ("OSService", ""),
    ("H2PING", "h2ping"),
    ("AliasService", "alias"),
    ("AliasNode", "alias"),
)
"""The kind of a check by its members, of which the first one counts; on Linux there is none for system services."""


@dataclass(slots=True, eq=False)
class Check:
    """A check as the agent has it.

    - `kind`: as Consul names it, such as "ttl", or "maintenance".
    - `tags`: the tags of its service when the check was registered.
    - `created`, `modified`: the indexes of the catalog; 0 until it is written.
    - `shown`: the status and the output that the catalog has.
    - `timer`: the timer of its next run or of the end of its TTL.
    """

    identifier: str
    name: str
    service_id: str
    kind: str
    definition: Object
    status: str = "critical"
    output: str = ""
    notes: str = ""
    tags: object = ()
    created: int = 0
    modified: int = 0
    shown: tuple[str, str] = ("critical", "")
    row: Object = field(default_factory=dict[str, object])
    """The members that it was registered with in the catalog; empty for a check of the agent."""
    tells_times: bool = False
    """True if it was added later, and shows its interval and its timeout on any version that has them."""
    in_catalog: bool = True
    """False while the agent could not tell the catalog of it."""
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    removal: asyncio.TimerHandle | None = field(default=None, repr=False)
    """The timer of the removal of its service, which runs while the check is critical; None for no such wish."""


def make_check(definition: Object, service_id: str, service_name: str, default_id: str) -> Check:
    """Make a check; `Refused` for a service of the operating system, as by a Consul on Linux.

    - `definition`: its definition.
    - `service_id`, `service_name`: the service that it is a check of.
    - `default_id`: the id of a check whose definition has none.
    """
    kind = next(kind for member, kind in _KINDS if definition.get(member))
    if not kind:
        raise Refused(500, "not implemented")
    status = text(definition, "Status") or "critical"
    return Check(
        text(definition, "CheckID") or default_id,
        text(definition, "Name") or f"Service '{service_name}' check",
        service_id,
        kind,
        definition,
        status=status,
        notes=text(definition, "Notes"),
        shown=(status, ""),
    )


class Runner:
    """The runner of checks: it calls `report` with a check, its status and its output."""

    def __init__(self, report: Callable[[Check, str, str], None]) -> None:
        self._report = report
        self._dialling: set[asyncio.Task[None]] = set()

    def start(self, check: Check) -> None:
        """Run a TTL, TCP or HTTP check from now on; for other kinds there is nothing to run."""
        if check.kind == "ttl":
            self._limit(check)
        elif check.kind in _DIALS:
            self._later(check, random.uniform(0, self._interval(check)), self._dial)

    def stop(self, check: Check) -> None:
        """Cancel the next run of a check, and the removal of its service."""
        self._cancel(check)
        if check.removal is not None:
            check.removal.cancel()
            check.removal = None

    def remove_in_time(self, check: Check, remove: Callable[[], None]) -> None:
        """Call `remove` if a `check` stays critical as long as its definition says.

        The agent looks from time to time. The time counts from a result on: a check that only begins as critical
        removes nothing.
        """
        wished = text(check.definition, "DeregisterCriticalServiceAfter")
        if check.status != "critical" and check.removal is not None:
            check.removal.cancel()
            check.removal = None
        if check.status == "critical" and check.removal is None and wished and parse_duration(wished):
            seconds = max(parse_duration(wished) / 1e9, SOONEST_REMOVAL) + random.uniform(0, BETWEEN_LOOKS)
            check.removal = asyncio.get_running_loop().call_later(seconds, remove)

    def touched(self, check: Check, status: str, output: str) -> None:
        """Report `status` and `output` of a TTL `check`, as sent to the agent, and begin its TTL anew.

        Of a long output the check keeps the beginning.
        """
        sent, most = output.encode(), min(number(check.definition, "OutputMaxSize") or _MOST_OUTPUT, _MOST_OUTPUT)
        kept = f"{sent[:most].decode('utf-8', 'replace')} ... (captured {most} of {len(sent)} bytes)"
        self._report(check, status, output if len(sent) <= most else kept)
        self._limit(check)

    async def close(self) -> None:
        """Cancel the checks that dial now; timers are cancelled by `stop`."""
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)

    @staticmethod
    def _interval(check: Check) -> float:
        return max(parse_duration(text(check.definition, "Interval")) / 1e9, _SHORTEST_INTERVAL)

    @staticmethod
    def _cancel(check: Check) -> None:
        if check.timer is not None:
            check.timer.cancel()
            check.timer = None

    def _later(self, check: Check, seconds: float, run: Callable[[Check], None]) -> None:
        self._cancel(check)
        check.timer = asyncio.get_running_loop().call_later(seconds, run, check)

    def _limit(self, check: Check) -> None:
        self._later(check, parse_duration(text(check.definition, "TTL")) / 1e9, self._expire)

    def _expire(self, check: Check) -> None:
        last = f" (last output before timeout follows): {check.output}" if check.output else ""
        self._report(check, "critical", f"TTL expired{last}")

    def _dial(self, check: Check) -> None:
        task = asyncio.get_running_loop().create_task(self.run(check))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def run(self, check: Check) -> None:
        """Run a TCP or HTTP check now, and again after its interval."""
        if check.kind not in _DIALS:
            return
        status, output = await _DIALS[check.kind](check)
        if check.timer is not None:  # otherwise it was stopped meanwhile
            self._report(check, status, output)
            self._later(check, self._interval(check), self._dial)


async def _connect(check: Check) -> tuple[str, str]:
    """Run a TCP check: its status and its output."""
    address = text(check.definition, "TCP")
    host, _, port = address.rpartition(":")
    found = await _exchange(host, port, b"")
    return ("critical", found) if isinstance(found, str) else ("passing", f"TCP connect {address}: Success")


async def _get(check: Check) -> tuple[str, str]:
    """Run an HTTP check: its status and its output."""
    url, method = text(check.definition, "HTTP"), text(check.definition, "Method") or "GET"
    address = urlsplit(url)
    if address.scheme not in {"http", "https"}:
        return "critical", f'{method.capitalize()} "{url}": unsupported protocol scheme "{address.scheme}"'
    path = f"{address.path or '/'}{'?' if address.query else ''}{address.query}"
    request = f"{method} {path} HTTP/1.0\r\nHost: {address.netloc}\r\nUser-Agent: Consul Health Check\r\n\r\n"
    tls = _tls(verify=not check.definition.get("TLSSkipVerify")) if address.scheme == "https" else None
    port = str(address.port or (443 if tls else 80))
    answer = await _exchange(address.hostname or "", port, request.encode(), tls)
    if isinstance(answer, str):
        return "critical", f'{method.capitalize()} "{url}": {answer}'
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].decode("latin-1").partition(" ")[2]
    most = number(check.definition, "OutputMaxSize") or _MOST_OUTPUT
    output = f"HTTP {method} {url}: {words} Output: {body[-most:].decode('utf-8', 'replace')}"
    return "passing" if words.startswith("2") else "warning" if words.startswith("429") else "critical", output


def _tls(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _exchange(host: str, port: str, request: bytes, tls: ssl.SSLContext | None = None) -> bytes | str:
    """Connect, over TLS with `tls`, and send `request`, if any: the answer as bytes, or the error as text."""
    try:
        async with asyncio.timeout(_DIAL_TIMEOUT):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
            try:
                writer.write(request)
                return await reader.read() if request else b""
            finally:
                writer.close()
    except TimeoutError:
        return f"dial tcp {host}:{port}: i/o timeout"
    except ssl.SSLError as error:
        return f"tls: {error.reason}"
    except (OSError, OverflowError, ValueError):
        return f"dial tcp {host}:{port}: connect: connection refused"


_DIALS: Final[dict[str, Callable[[Check], Awaitable[tuple[str, str]]]]] = {"tcp": _connect, "http": _get}


def captured(output: str, most: int) -> str:
    """The `output` of a TTL check as far as the agent keeps it: `most` bytes, by default 4096."""
    given = output.encode("utf-8", "surrogatepass")
    most = most if most > 0 else _MOST_OUTPUT
    if len(given) <= most:
        return output
    return f"{given[:most].decode('utf-8', 'replace')} ... (captured {most} of {len(given)} bytes)"


def aliased(alias: Check, of_node: Mapping[str, Check], of_service: Mapping[str, Check] | None) -> tuple[str, str]:
    """The status and the output of an `alias` of a service, or of the node where it names none.

    - `of_node`: the checks of the node.
    - `of_service`: those of the service; None where there is no such service.
    """
    target = text(alias.definition, "AliasService")
    if target and of_service is None:
        node = text(alias.definition, "AliasNode")
        return "critical", f"Service {target} could not be found on node {node}"
    status, output = "passing", "No checks found." if target else "All checks passing."
    both = (of_node, of_service or {} if target else {})
    for check in (each for checks in both for _, each in sorted(checks.items()) if each is not alias):
        if check.status == "passing":
            output = output if status == "warning" else "All checks passing."
            continue
        status, output = check.status, f'Aliased check "{check.name}" failing: {check.output}'
        if status == "critical":
            break
    return status, output

"""Waiting for an agent that may start later than the program."""

from __future__ import annotations

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    NoLeader,
    NotReady,
    RequestTimeout,
)
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import Options

_PATH = path_of("status", "leader")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds
_DEADLINE = 5.0  # seconds for one answer, so that an agent that stands still does not take all the time
_AT_ONCE = frozenset({ErrorReason.TLS_NEEDED})
_HOPELESS = _AT_ONCE | {ErrorReason.CERTIFICATE}
_read_leader = reader(str)


async def wait_for_agent(sender: Sender, clock: Clock, options: Options, timeout: float | None) -> None:  # noqa: ASYNC109
    """
    Wait until an agent answers and its servers have a leader.

    All addresses are asked in turn, with pauses between the rounds.

    - `sender`: sends the requests.
    - `clock`: clock of the pauses.
    - `options`: options of the client; the datacenter, the token and the timeout count.
    - `timeout`: seconds to wait, None for no limit.

    Raises NotReady with the last error after `timeout`. Where waiting cannot help at any address, raises that error at
    once.
    """
    if timeout is not None and not timeout > 0:
        raise InvalidRequest(f"timeout must be more than 0 seconds, not {timeout!r}")
    request = Request(
        method="GET", path=_PATH, decode=_leader, options=options, accepted_options=frozenset({"datacenter"})
    )
    patience = min(_DEADLINE, options.timeout or _DEADLINE)
    end, pause = None if timeout is None else clock.now() + timeout, _FIRST_PAUSE
    last: ConsulError | None = None
    renewed = False
    while end is None or last is None or clock.now() < end:
        hopeless = True
        for address in sender.addresses:
            left = patience if end is None else max(end - clock.now(), 0.001)
            error = await _ask(sender, request, address, min(patience, left))
            if error is None:
                return
            if last is None or left >= patience or not isinstance(error, RequestTimeout):
                last = error  # an answer that was given no time says less than the one before
            hopeless = hopeless and (error.final or error.reason in (_HOPELESS if renewed else _AT_ONCE))
            sender.avoid(address)
        if hopeless and last is not None:
            raise last
        renewed = True  # a failure makes the transport look at the files for TLS
        await clock.sleep(pause if end is None else max(0.0, min(pause, end - clock.now())))
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise _late(last, timeout or 0.0)


async def _ask(sender: Sender, request: Request[str], address: str, deadline: float) -> ConsulError | None:
    """Ask one agent for the leader, and return the error; None where there is a leader."""
    try:
        response = await sender.attempt(request, extra=(), deadline=deadline, address=address, purpose="calls")
        leader = interpret(request, response)
    except (Closed, InvalidRequest):
        raise
    except ConsulError as error:
        return error
    words = "the servers have no leader"
    return None if leader else NoLeader(words, reason=ErrorReason.NO_LEADER).about("GET", _PATH, address)


def _leader(response: Response) -> str:
    return _read_leader(response.body)


def _late(last: ConsulError, timeout: float) -> NotReady:
    """Return the error for the caller when the time is over, with the last one and what to do."""
    if isinstance(last, NoLeader):
        advice = "the agent runs; see that it finds enough servers (`consul members`)"
    elif isinstance(last, ConnectionFailed):
        advice = "see that an agent runs there, and that the address (CONSUL_HTTP_ADDR) is the right one"
    else:
        advice = "see what answers at that address (CONSUL_HTTP_ADDR)"
    late = NotReady(
        f"no agent with a leader within {timeout:g} s: {last.message}; {advice}",
        reason=last.reason,
        text=last.text,
    )
    late.__cause__ = last
    return late.about(last.method, last.path, last.address, last.status)

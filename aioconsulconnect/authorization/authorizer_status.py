"""Status, counters and options of an authorizer, and the record of a decision for audit."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Literal

import msgspec

from aioconsulconnect.authorization.default_policy import DefaultPolicy
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import Mode
from aioconsulconnect.authorization.rules.source import Caller, Peer
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.intentions import Action
from aioconsulconnect.watch.protocol.status import Status
from aioconsulconnect.workflows.visibility import Visibility as Visibility  # noqa: PLC0414 - a public name of this folder

AuthorizerState = Literal["starting", "ready", "incomplete", "expired", "closed"]


class AuthorizerCounters(msgspec.Struct, kw_only=True):
    """
    Counters of an authorizer since it was entered.

    - `tables`: tables that were built.
    - `questions`: questions to the agent about the default that have ended.
    - `allowed`, `denied`: decisions; counted only where there is an `on_decision`.
    - `hook_errors`: exceptions of `on_decision`.
    """

    tables: int = 0
    questions: int = 0
    allowed: int = 0
    denied: int = 0
    hook_errors: int = 0


class AuthorizerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    Status of an authorizer: whether it decides by data, and how old and how complete this is.

    - `state`: "starting" (not all is learnt yet; what needs it is denied), "ready" (it decides by data), "incomplete"
      (the token is refused, or does not see everything), "expired" (the data is older than `max_age`) or "closed". In
      the last three all is denied.
    - `reason`: reason of the verdicts where it denies everything, else None.
    - `age`: seconds since the servers last confirmed the intentions; None before there are any.
    - `mode`: "consul" or "envoy".
    - `destinations`: the destinations; empty for all.
    - `default`: what is known of the default.
    - `visibility`: what a list of all intentions shows to the token; asked for only where there are no destinations.
    - `trust_domain`: the own trust domain; empty where it is not known.
    - `issuers`: the issuer of each `jwt-provider` that intentions name and whose entry is known.
    - `knows_normalization`: True if it is known how requests are normalized; if not, requests are denied.
    - `missing`: what is not known or cannot be asked for, in words; empty if nothing is. Where it is "ready" there can
      be some: a mesh entry that the token may not read, or an agent that is away.
    - `watch`: status of the watch of the intentions.
    - `counters`: what was counted.
    """

    state: AuthorizerState
    reason: Reason | None = None
    age: float | None = None
    mode: Mode = "consul"
    destinations: tuple[str, ...] = ()
    default: DefaultPolicy
    visibility: Visibility
    trust_domain: str = ""
    issuers: dict[str, str] = {}
    knows_normalization: bool = False
    missing: str = ""
    watch: Status
    counters: AuthorizerCounters


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    Decision of an authorizer, as `on_decision` is given it.

    - `source`, `destination`, `request`: what was asked.
    - `verdict`: the answer.
    """

    source: Caller
    destination: str | None
    request: HTTPRequest | None
    verdict: Verdict


DecisionHook = Callable[[Decision], None]
"""Function that is given every decision, for audit."""


class AuthorizerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    Options of an authorizer, as `Consul.authorizer` takes them.

    - `mode`: "consul" or "envoy".
    - `default`: what holds where no intention matches; None to learn it from the agent.
    - `max_age`: age in seconds beyond which data denies; None for no limit.
    - `peers`: peers whose services may call.
    - `enterprise`: True if Consul has namespaces and partitions.
    - `on_decision`: function that is given every decision; None for none.
    - `ready_timeout`: how long entering waits for the first data, in seconds; None for no limit, 0 for not at all.
    """

    mode: Mode = "consul"
    default: Action | None = None
    max_age: float | None = None
    peers: tuple[Peer, ...] = ()
    enterprise: bool = False
    on_decision: DecisionHook | None = None
    ready_timeout: float | None = 10

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a time that is none, and for peers that are none."""
        check_seconds("ready_timeout", self.ready_timeout)
        check_seconds("max_age", self.max_age)
        for peer in self.peers:
            _check_peer(peer)
        hook: object = self.on_decision
        if hook is not None and (not callable(hook) or iscoroutinefunction(hook)):
            raise InvalidRequest("on_decision is a plain function, which is called and not awaited")


def _check_peer(peer: object) -> None:
    if not isinstance(peer, Peer):
        raise InvalidRequest("peers are given as Peer(name=…, trust_domain=…)")


def check_seconds(name: str, value: object) -> None:
    """
    Raise InvalidRequest for a time that is neither None nor a number of seconds from 0 on.

    - `name`: name of the argument.
    - `value`: the time.
    """
    if value is not None and not (isinstance(value, int | float) and value >= 0):
        raise InvalidRequest(f"{name} must be None or seconds from 0 on, not {value!r}")

"""
A decision alone: about one destination with a live authorizer, among 100,000 intentions, and about requests.

The lines of a table are measured in turn, round after round, so that whatever else the machine does falls on all of
them; the two modes one after the other, since a program has one of them and two large tables would push each other out
of the processor's caches. The best round is what the code costs; the median says how quiet the machine was.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import random
import statistics
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from aioconsulconnect import Consul
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import HeaderPermission, HTTPPermission, Intention, Permission
from aioconsulconnect.structs.spiffe import SpiffeId
from benchmarks.agent import real_agent, send
from benchmarks.figures import table

ROUNDS = int(os.environ.get("ROUNDS", "30"))
CALLS = 10_000
FRESH = 200  # ids in a round
INTENTIONS = 100_000
SERVICES = 5_000
MODES: tuple[Literal["consul", "envoy"], ...] = ("consul", "envoy")
DOMAIN = "11111111-2222-3333-4444-555555555555.consul"

_DONE = object()

Run = Callable[[], float]
"""One round: nanoseconds of a call."""


# One destination.


def one() -> None:
    with real_agent() as url:
        for i in range(19):
            send(url, "POST", "/v1/connect/intentions", _written(f"s{i}", "allow"))
        send(url, "POST", "/v1/connect/intentions", _written("*", "deny"))
        asyncio.run(_one(url))


def _written(source: str, action: str) -> dict[str, str]:
    return {"SourceName": source, "DestinationName": "db", "SourceType": "consul", "Action": action}


async def _one(url: str) -> None:
    async with (
        Consul(url) as consul,
        consul.authorizer("db") as plain,
        consul.authorizer("db", max_age=15) as bounded,
    ):
        await plain.ready(10)
        await bounded.ready(10)
        await asyncio.sleep(0.2)  # what comes in at the start has come
        domain = plain.status.trust_domain
        uri = f"spiffe://{domain}/ns/default/dc/dc1/svc/s3"
        for authorizer in (plain, bounded):
            assert authorizer.check("s3")
            assert authorizer.check(uri)
            assert not authorizer.check("s99")
        names: dict[str, Any] = {"a": plain, "b": bounded, "r": Ready(plain.check("s3")), "d": {"s3": 1}, "u": uri}
        strangers = _ids(domain, "stranger")
        unparsed = _ids(domain, "s")
        lines: dict[str, tuple[Run, str]] = {
            "dict.get(name), bare": (repeated("d.get('s3')", names), ""),
            "a method that returns a ready object": (repeated("r.check('s3')", names), ""),
            "check(name)": (repeated("a.check('s3')", names), "150"),
            "check(name), max_age=15": (repeated("b.check('s3')", names), "220"),
            "check(name) that no intention names": (repeated("a.check('s99')", names), ""),
            "check(SPIFFE URI), the same again": (repeated("a.check(u)", names), "250"),
            "check(SPIFFE URI), never seen before": (each(plain.check, strangers), "4000"),
            "SpiffeId.parse alone": (each(SpiffeId.parse, unparsed), "3000"),
        }
        best = rounds({name: run for name, (run, _) in lines.items()})
    print(f"one destination, 20 intentions, live authorizer: ns of a call, {ROUNDS} rounds")
    table(("", "best", "median", "wanted, under"), [(name, *best[name], lines[name][1]) for name in lines])


class Ready:
    """The least that a `check` in Python can do: the arguments of ours, and an answer that is there."""

    def __init__(self, verdict: object) -> None:
        self._verdict = verdict

    def check(
        self,
        source: object,  # noqa: ARG002
        destination: object = None,  # noqa: ARG002
        request: object = None,  # noqa: ARG002
        *,
        claims: object = None,  # noqa: ARG002
    ) -> object:
        return self._verdict


def _ids(domain: str, name: str) -> Iterable[list[str]]:
    """For each round other ids."""
    for number in range(ROUNDS + 1):
        yield [f"spiffe://{domain}/ns/default/dc/dc1/svc/{name}-{number}-{i}" for i in range(FRESH)]


def repeated(statement: str, names: dict[str, Any], count: int = CALLS) -> Run:
    """The same call again and again, as `timeit` counts it: with its loop."""
    timer = timeit.Timer(statement, globals=names)
    return lambda: 1e9 * timer.timeit(count) / count


def each(call: Callable[[Any], object], groups: Iterable[list[Any]]) -> Run:
    """A call for each of a group, another group in each round."""
    coming = iter(groups)

    def run() -> float:
        group = next(coming)
        began = time.perf_counter_ns()
        for value in group:
            call(value)
        return (time.perf_counter_ns() - began) / len(group)

    return run


def rounds(runs: Mapping[str, Run]) -> dict[str, tuple[str, str]]:
    """The best and the median of interleaved rounds, as text."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            nanoseconds = run()
            if number:  # the first round warms up
                taken[name].append(nanoseconds)
    return {name: (f"{min(found):.0f}", f"{statistics.median(found):.0f}") for name, found in taken.items()}


# Many intentions.


def many() -> None:
    """Among 100,000 intentions: decoded from JSON, as a watch has them, so that no two share the text of a name."""
    written = msgspec.json.encode(_hundred_thousand(random.Random(12)))
    decoder = msgspec.json.Decoder(tuple[Intention, ...])
    intentions = decoder.decode(written)
    hits, others = _questions(intentions, random.Random(13))
    best: dict[str, tuple[str, str]] = {}
    costs: list[tuple[str, ...]] = []
    for mode in MODES:
        settings = DecisionSettings(default="deny", trust_domain=DOMAIN, mode=mode)
        made, size = _size(intentions, settings)
        assert made.check(*hits[0]).intention is not None
        best |= rounds({f"exact, {mode}": _pairs(made, hits), f"wildcard or none, {mode}": _pairs(made, others)})
        del made
        total, worst = _building(intentions, settings)
        costs += [
            (f"bytes of the table, an intention, {mode}", f"{size:.1f}", "40"),
            (f"building it, ms, {mode}", f"{1e3 * total:.0f}", ""),
            (f"its worst slice, ms, {mode}", f"{1e3 * worst:.2f}", ""),
        ]
    print(f"{INTENTIONS:,} intentions over {SERVICES:,} services: ns of an L4 decision, {ROUNDS} rounds")
    table(("", "best", "median", "wanted, under"), [(name, *figures, "1000") for name, figures in best.items()])
    print("the table beyond names and decoded intentions; median of 5 buildings, gc on")
    table(("", "", "wanted, under"), costs)


def _hundred_thousand(dice: random.Random) -> list[dict[str, str]]:
    names = [f"svc-{i}" for i in range(SERVICES)]
    pairs: dict[tuple[str, str], str] = {}
    while len(pairs) < INTENTIONS:
        source = dice.choice(names) if dice.random() > 0.02 else "*"
        destination = dice.choice(names) if dice.random() > 0.005 else "*"
        pairs[source, destination] = dice.choice(("allow", "deny"))
    return [
        {"SourceName": source, "DestinationName": destination, "Action": action, "SourceType": "consul"}
        for (source, destination), action in pairs.items()
    ]


Questions = list[tuple[str, str]]


def _questions(intentions: tuple[Intention, ...], dice: random.Random) -> tuple[Questions, Questions]:
    """Pairs that an intention names, and pairs that none does; texts of their own, as a caller's are."""
    named = {(one.source_name, one.destination_name) for one in intentions}
    exact = [pair for pair in dice.sample(sorted(named), 2 * CALLS) if "*" not in pair][:CALLS]
    others: Questions = []
    while len(others) < CALLS:
        pair = f"svc-{dice.randrange(SERVICES)}", f"svc-{dice.randrange(SERVICES)}"
        if pair not in named:
            others.append(pair)
    return [(source.encode().decode(), destination.encode().decode()) for source, destination in exact], others


def _pairs(made: Table, questions: Questions) -> Run:
    def run() -> float:
        check = made.check
        began = time.perf_counter_ns()
        for source, destination in questions:
            check(source, destination)
        return (time.perf_counter_ns() - began) / len(questions)

    return run


def _size(intentions: tuple[Intention, ...], settings: DecisionSettings) -> tuple[Table, float]:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    made = Table.build(intentions, settings)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return made, (after - before) / len(intentions)


def _building(intentions: tuple[Intention, ...], settings: DecisionSettings) -> tuple[float, float]:
    """Seconds of building a table, and of its longest step between two yields."""
    totals, worsts = [], []
    for _ in range(5):
        steps = []
        slices = Table.in_slices(intentions, settings)
        is_done = False
        while not is_done:
            began = time.perf_counter()
            is_done = next(slices, _DONE) is _DONE
            steps.append(time.perf_counter() - began)
        totals.append(sum(steps))
        worsts.append(max(steps))
    return statistics.median(totals), statistics.median(worsts)


# Requests.


def requests() -> None:
    headers = {"host": "db", "accept": "*/*", "user-agent": "bench", "x-role": "root", "x-trace": "1"}
    asked = HTTPRequest("GET", "/p0/items?page=1", headers)
    two = (HeaderPermission(name="x-role", exact="root"), HeaderPermission(name="x-trace", present=True))
    rules: dict[str, tuple[tuple[HTTPPermission, ...], HTTPRequest]] = {
        f"path permissions, the last of {count} matches": (
            tuple(HTTPPermission(path_prefix=f"/p{i}/") for i in range(count)),
            HTTPRequest("GET", f"/p{count - 1}/items?page=1", headers),
        )
        for count in (1, 5, 20)
    }
    rules["method and two headers"] = (HTTPPermission(methods=("GET",), header=two),), asked
    has_re2 = importlib.util.find_spec("re2") is not None
    if has_re2:
        rules["regular expression, google-re2"] = (HTTPPermission(path_regex="/p[0-9]+/items"),), asked
    given = {"H": HTTPRequest, "h": headers}
    runs = {"making the HTTPRequest": repeated("H('GET', '/p0/items?page=1', h)", given, CALLS // 10)}
    for mode in MODES:
        settings = DecisionSettings(default="deny", trust_domain=DOMAIN, mode=mode)
        for name, (conditions, request) in rules.items():
            permissions = tuple(Permission(action="allow", http=http) for http in conditions)
            intention = Intention(source_name="web", destination_name="db", permissions=permissions)
            made = Table.build([intention], settings, destinations=("db",))
            assert made.check("web", request=request)
            runs[f"{name}, {mode}"] = repeated("t.check('web', None, q)", {"t": made, "q": request}, CALLS // 10)
    best = rounds(runs)
    print(f"a request with {len(headers)} headers, one destination: ns of a decision, {ROUNDS} rounds")
    rows = [(name, *best[name]) for name in runs]
    if not has_re2:
        rows.append(("regular expression", "google-re2 is not installed", ""))
    table(("", "best", "median"), rows)

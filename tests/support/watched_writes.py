"""Which blocking queries a write ends, at the in-process agent and at a real one."""

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hypothesis import strategies as st
from support.conversations import Answer, Finding, Pair, Side, Step
from support.entry_bodies import good_entries, modelled
from support.service_bodies import CENTRAL, REGISTER, SERVICES, Services

from aioconsulconnect.testing.versions import Version

WAITED = 0.5  # seconds that a query waits at most
WOKEN = 0.35  # one that ends within so many after the write was ended by it


class Watchers:
    """Blocking queries of one agent, one for each path, each on a connection of its own."""

    def __init__(self, side: Side, paths: Sequence[str]) -> None:
        self.side, self.paths = side, paths
        self.results: dict[str, str] = {}

    @contextmanager
    def during(self) -> Iterator[None]:
        """Wait on all paths while something is written."""
        threads = [threading.Thread(target=self._wait, args=(path, self._index(path))) for path in self.paths]
        self.written = float("inf")
        for thread in threads:
            thread.start()
        time.sleep(0.03)
        self.written = time.monotonic()
        yield
        for thread in threads:
            thread.join()

    def _index(self, path: str) -> str:
        self.side.connection.request(
            "GET", path, headers={"X-Consul-Token": self.side.token} if self.side.token else {}
        )
        response = self.side.connection.getresponse()
        response.read()
        return response.headers["X-Consul-Index"] or ""

    def _wait(self, path: str, index: str) -> None:
        if not index:
            self.results[path] = "has no index"
            return
        connection = http.client.HTTPConnection(self.side.netloc, timeout=20)
        headers = {"X-Consul-Token": self.side.token} if self.side.token else {}
        separator = "&" if "?" in path else "?"
        try:
            connection.request("GET", f"{path}{separator}index={index}&wait={int(WAITED * 1000)}ms", headers=headers)
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        ended = time.monotonic()
        moved = response.headers["X-Consul-Index"] != index
        if ended < self.written:
            self.results[path] = "ended before the write"
        else:
            woken = "woken" if ended - self.written < WOKEN else "not woken"
            self.results[path] = f"{woken}, index {'moved' if moved else 'unmoved'}"


WATCHED = (
    "/v1/connect/intentions",
    "/v1/connect/intentions/match?by=destination&name=web",
    "/v1/config/service-defaults",
    "/v1/config/service-defaults/web",
    "/v1/discovery-chain/web",
    "/v1/catalog/services",
    "/v1/catalog/service/web",
    "/v1/catalog/connect/web",
    "/v1/health/service/web",
    "/v1/health/connect/web",
    "/v1/health/checks/web",
    "/v1/health/ingress/web",
    "/v1/catalog/gateway-services/in",
    "/v1/catalog/nodes",
)


def steps(version: Version) -> st.SearchStrategy[list[Step]]:
    """From 4 to 10 good writes."""
    kinds = [kind.name for kind in modelled(version)]
    entries = [Step("PUT", "/v1/config", {"Kind": kind} | good) for kind in kinds for good in good_entries(kind)]
    removed = [Step("DELETE", f"/v1/config/{kind}/{good_entries(kind)[0].get('Name', 'mesh')}") for kind in kinds]
    services = [Step("PUT", REGISTER, body) for body in SERVICES]
    gone = [Step("PUT", f"/v1/agent/service/deregister/{name}") for name in ("web", "db", "px", "in")]
    checks = [Step("PUT", f"/v1/agent/check/{verb}/db-ttl") for verb in ("pass", "warn")]
    central = [Step("PUT", "/v1/config", entry) for entry in CENTRAL]
    intentions = [
        Step("POST", "/v1/connect/intentions", {"SourceName": a, "DestinationName": b, "Action": "allow"})
        for a, b in (("api", "web"), ("*", "web"), ("web", "db"))
    ]
    choices = [*map(st.sampled_from, (entries, central, removed, services, services, gone, checks, intentions))]
    return st.lists(st.one_of(choices), min_size=4, max_size=10)


class WatchedPair(Pair):
    """A pair whose writes are watched."""

    woken: dict[str, tuple[str, str]]

    def prepare(self, side: Side) -> None:
        """Let a service come and go, as a catalog that never had one gives other indexes to those that it has not."""
        side.send(Step("PUT", REGISTER, {"Name": "first"}))
        self._until(side, {"consul", "first"})
        side.send(Step("PUT", "/v1/agent/service/deregister/first"))
        self._until(side, {"consul"})

    @staticmethod
    def _until(side: Side, known: set[str]) -> None:
        for _ in range(200):
            if set(side.call("GET", "/v1/catalog/services") or ()) == known:
                return
            time.sleep(0.01)

    def both(self, ours: Side, theirs: Side, step: Step) -> tuple[Answer, Answer | None]:
        here, there = Watchers(ours, WATCHED), Watchers(theirs, WATCHED)
        with here.during(), there.during():
            answers = super().both(ours, theirs, step)
        self.woken = {path: (here.results[path], there.results[path]) for path in WATCHED}
        return answers

    def further(self, steps: tuple[Step, ...], here: Answer, there: Answer) -> Iterator[Finding]:
        for path, (ours, theirs) in self.woken.items():
            if ours != theirs and "before" not in ours + theirs:
                yield Finding("wake", steps, here, there, (f"{path}: ours {ours}, real {theirs}",))


class Waking(Services):
    """Blocking queries of all subjects, while good writes are made."""

    name = "blocking queries"

    def views(self, side: Side, steps: Sequence[Step]) -> Iterator[Step]:
        return iter(())

    def clear(self, side: Side) -> None:
        super().clear(side)
        if "service-intentions" not in self.kinds:
            for found in side.call("GET", "/v1/connect/intentions") or ():
                side.send(Step("DELETE", f"/v1/connect/intentions/{found['ID']}"))

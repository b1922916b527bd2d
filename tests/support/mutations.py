"""
For each requirement of a watch, what takes the behaviour away when it is changed.

`test_mutations` makes one of these changes at a time in a copy of the package, and sees that the tests of that
requirement fail. `support.mutator` finds the place: by the name of the symbol, wherever in the package it stands, and
by the syntax of a node in it, whatever its layout.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """
    `symbol` is a method ("Class.method"), a function or a constant of a module; its name is unique in the package.

    `node` is an expression or a statement in it, and occurs there once, or is the `occurrence`-th of them. `becomes` is
    of the same kind, but a call that stands alone may become a statement too: `pass` takes it out.
    """

    requirement: str
    symbol: str
    node: str
    becomes: str
    occurrence: int = 0

    def __str__(self) -> str:
        return f"{self.requirement}: {self.symbol}: {self.node} -> {self.becomes}"


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "w01", "SnapshotStore.take", "old is not None and items == old.items", "items == (old.items if old else {})"
    ),
    Mutation("w02", "BlockingQuery._move", "position == 0", "position == -1"),
    Mutation("w03", "BlockingQuery._move", "position < asked.position", "False"),
    Mutation("w03", "BlockingQuery._move", "comparable", "True"),
    Mutation("w04", "BlockingQuery._move", "self._read_again(now)", "pass", occurrence=3),
    Mutation("w04", "BlockingQuery._move", "now - self._reread >= self._settings.reread", "True"),
    Mutation("w05", "BlockingQuery._fail", 'self._next, self._position = "read", None', "pass"),
    Mutation("w05", "BlockingQuery._pause", "self.failover_count += 1", "pass"),
    Mutation("w06", "SnapshotStore.take", "response.body == self._body", "meta.index == self.meta.index"),
    Mutation("w07", "SnapshotStore.take", "response.body == self._body", "False"),
    Mutation("w08", "BlockingQuery._move", "position < asked.position", "str(position) < str(asked.position)"),
    Mutation("w09", "slower_interval", "min(longest, before * _SLOWER)", "first"),
    Mutation("w10", "BlockingQuery.__init__", 'spec.index_from is not None and spec.cursor_kind == "index"', "False"),
    Mutation("w10", "BlockingQuery._fail", "isinstance(error, PermissionDenied)", "False"),
    Mutation("w11", "_JITTER", "0.2", "0.0"),
    Mutation("w12", "poll_deadline", "held_for(wait) + settings.margin", "wait"),
    Mutation("w13", "BlockingQuery._fail", 'asked.kind == "poll"', 'asked.kind == "never"'),
    Mutation("w13", "cut_short", "{408, 502, 504}", "{408, 502, 503, 504}"),
    Mutation("w14", "PollerPool._begin", "poller.delay(resources.random())", "poller.delay(0)"),
    Mutation("w15", "Backoff.failed", "_FIRST_BACKOFF * 2 ** min(self.failures, 20)", "_FIRST_BACKOFF"),
    Mutation("w15", "Backoff.worked", "0 if now - self._last > _FORGET_FAILURES else self.failures // 2", "0"),
    Mutation("w15", "Backoff.failed", "refused", "True"),
    Mutation("w16", "BlockingQuery.receive", "now - sent > _FROZEN * asked.deadline and self.end is None", "False"),
    Mutation("w17", "ends_watch", "error.final or isinstance(error, InvalidRequest)", "False"),
    Mutation("w17", "ends_watch", "denied_for >= DENIED_TWICE", "True"),
    Mutation("w17", "BlockingQuery._pause", "self._denials += 1", "self._denials = 1"),
    Mutation("w18", "Poller.renew", "self._query.invalidate(self._resources.clock.now())", "False"),
    Mutation("w18", "BlockingQuery.receive", "superseded", "False"),
    Mutation(
        "w18", "sharing_key", "options.token and hashlib.sha256(options.token.encode()).hexdigest()", "options.token"
    ),
    Mutation("w19", "BlockingQuery._trouble", "self._error = str(error)", "self._store.snapshot = None"),
    Mutation("w20", "judge", '"confirm" if doubtful else "believe"', '"believe"'),
    Mutation("w20", "Poller._send", "self._plain if following.plain else self._request", "self._request"),
    Mutation("w21", "Said.hides", "self.meta.filtered_by_acls", "False"),
    Mutation("w21", "Said.hides", "not before.meta.filtered_by_acls", "True"),
    Mutation("w21", "Said.hides", "filtered or (self.anonymous and not before.anonymous)", "filtered"),
    Mutation("w21", "Said.hides", "self.anonymous and not before.anonymous", "self.anonymous"),
    Mutation("w21", "Lost.stays", "not any(key in keys for key in self.keys)", "False"),
    Mutation("w21", "Lost.stays", "not any(key in keys for key in self.keys)", "True"),
    Mutation("w21", "Lost.stays", "said.hides(self.whole)", "True"),
    Mutation("w21", "SnapshotStore._judge", "before = self._lost.whole", "pass"),
    Mutation("w21", "SnapshotStore._completed", "self._spec.rebuild is None", "True"),
    Mutation("w21", "BlockingQuery.invalidate", "self._store.invalidate()", "pass"),
    Mutation("w21", "judge", "unmoved and not known.failed", "False"),
    Mutation("w22", "Poller.__init__", "None if same else verify_with", "None"),
    Mutation(
        "w22",
        "Poller.__init__",
        "verify_with if verify_with is not None and same else plain(request)",
        "plain(request)",
    ),
    Mutation("w22", "proves", 'meta.backend != "streaming" and meta.cache is None', "True"),
    Mutation("w22", "SnapshotStore.age", "meta.age is None or meta.last_contact is None", "meta.age is None"),
    Mutation("w23", "sharing_key", "(msgspec.structs.replace(request, options=options), spec)", "object()"),
    Mutation("w23", "Poller._unwanted", "idle >= self._resources.settings.idle_timeout", "True"),
    Mutation("w24", "ConnectionBudget.take", "self._open + self.zombies >= self.limit", "False"),
    Mutation("w24", "BlockingQuery.start", 'asked.kind == "poll" and self._over_budget', "False"),
    Mutation(
        "w25", "Subscription.leave", "self.publisher.leave(self.wakeup, self.clock.now())", "self.publisher.over = True"
    ),
    Mutation("w25", "ConnectionBudget.take", "self._open + self.zombies", "self._open"),
    Mutation("w26", "RateLimiter.at", "max(now, self._paid_until - self._burst)", "now"),
    Mutation("w26", "RateLimiter.__init__", "(burst - 1) * interval", "0"),
    Mutation(
        "w27",
        "BlockingQuery.next_request",
        'self._next == "confirm" or now < self._plain_until',
        'self._next == "confirm"',
    ),
    Mutation(
        "w28",
        "_kept",
        "was = old.get(key, item)",
        "was = next((one for name, one in old.items() if name == key), item)",
    ),
    Mutation("w28", "Poller._send", "len(answer.body) > _BIG", "False"),
    Mutation("w29", "difference", "found.append(Changed(was, item, key=key))", "pass"),
    Mutation("w29", "difference", "counts(was) != counts(item) if counts else was != item", "was != item"),
    Mutation("w30", "_Iterator.__anext__", "snapshot.version - self._seen.version - 1 if self._seen else 0", "0"),
    Mutation("w31", "Publisher.join", "deque(maxlen=self._max_pending)", "deque(maxlen=1)"),
    Mutation("w31", "Changes._output", "options.every and skipped > 0", "False"),
    Mutation("w32", "_Iterator._held", "settle is None or self._seen is None", "True"),
    Mutation(
        "w32",
        "_Iterator._held",
        "min(snapshot.time + settle[0], self._noticed + settle[1])",
        "snapshot.time + settle[0]",
    ),
    Mutation("w33", "_kept", "was if was == item else item", "item"),
    Mutation("w34", "_Iterator.__anext__", "self._busy = False", "self._busy = False; self._seen = None"),
    Mutation("w34", "_refuse_second", "busy", "False"),
    Mutation("w35", "Publisher.leave", "wakeup.wake_all()", "pass"),
    Mutation("w35", "Watch._joined", "self._subscription.left", "False"),
    Mutation("w36", "PollerResources.cancel_all", "task.cancel()", "pass"),
    Mutation("w36", "Publisher.close", "self._wake_consumers()", "pass"),
    Mutation("w37", "Subscription.resumes", "since.digest == digest(snapshot)", "False"),
    Mutation("w37", "Subscription.resumes", "since.path == self.path", "True"),
    Mutation("w37", "Watch.cursor", "subscription.delivered is None and self._options.since is not None", "False"),
    Mutation("w38", "Poller._changed_state", "{old, state} & _TROUBLE", "{state} & _TROUBLE"),
    Mutation("w38", "PollerResources.report", "Exception", "ZeroDivisionError"),
)

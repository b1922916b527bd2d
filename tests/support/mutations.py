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
    Mutation("w01", "Content.take", "old is not None and items == old.items", "items == (old.items if old else {})"),
    Mutation("w02", "Machine._move", "place == 0", "place == -1"),
    Mutation("w03", "Machine._move", "place < ask.place", "False"),
    Mutation("w03", "Machine._move", "comparable", "True"),
    Mutation("w04", "Machine._move", "self._read_again(now)", "pass", occurrence=3),
    Mutation("w04", "Machine._move", "now - self._reread >= self._settings.reread", "True"),
    Mutation("w05", "Machine._fail", 'self._next, self._place = "read", None', "pass"),
    Mutation("w05", "Machine._pause", "self.strayed += 1", "pass"),
    Mutation("w06", "Content.take", "response.body == self._body", "meta.index == self.meta.index"),
    Mutation("w07", "Content.take", "response.body == self._body", "False"),
    Mutation("w08", "Machine._move", "place < ask.place", "str(place) < str(ask.place)"),
    Mutation("w09", "Machine._unplaced", "min(longest, self._interval * 1.5)", "first"),
    Mutation("w10", "Machine.__init__", 'blocking.borrow is not None and blocking.by == "index"', "False"),
    Mutation("w10", "Machine._fail", "isinstance(error, PermissionDenied)", "False"),
    Mutation("w11", "_JITTER", "0.2", "0.0"),
    Mutation("w12", "Machine.ask", "wait * 17 / 16 + self._settings.margin", "wait"),
    Mutation("w13", "Machine._fail", 'ask.kind == "poll"', 'ask.kind == "never"'),
    Mutation("w13", "cut_short", "{408, 502, 504}", "{408, 502, 503, 504}"),
    Mutation("w14", "Polls._begin", "poll.machine.delay(self.random())", "poll.machine.delay(0)"),
    Mutation("w15", "PollBackoff.failed", "self._first * 2 ** min(self.failures, 20)", "self._first"),
    Mutation("w15", "PollBackoff.worked", "0 if now - self._last > self._forget else self.failures // 2", "0"),
    Mutation("w15", "PollBackoff.failed", "refused", "True"),
    Mutation("w16", "Machine.took", "now - sent > _FROZEN * ask.deadline and self.end is None", "False"),
    Mutation("w17", "ends_watch", "not worked or error.status is None or error.status < 500", "False"),
    Mutation(
        "w17", "ends_watch", "isinstance(error, PermissionDenied) and not worked", "isinstance(error, PermissionDenied)"
    ),
    Mutation("w17", "Machine._pause", "self._denials += 1", "self._denials = 1"),
    Mutation("w18", "Poll.renew", "self.machine.distrust(self._polls.clock.now())", "False"),
    Mutation("w18", "Machine.took", "distrusted", "False"),
    Mutation(
        "w18", "sharing_key", "options.token and hashlib.sha256(options.token.encode()).hexdigest()", "options.token"
    ),
    Mutation("w19", "Machine._trouble", "self._error = str(error)", "self._content.snapshot = None"),
    Mutation("w20", "judge", '"confirm" if doubtful else "believe"', '"believe"'),
    Mutation("w20", "Poll._send", "self._plain if ask.plain else self.request", "self.request"),
    Mutation("w21", "Said.hides", "self.meta.filtered_by_acls", "False"),
    Mutation("w21", "Said.hides", "not before.meta.filtered_by_acls", "True"),
    Mutation("w21", "Said.hides", "filtered or (self.anonymous and not before.anonymous)", "filtered"),
    Mutation("w21", "Said.hides", "self.anonymous and not before.anonymous", "self.anonymous"),
    Mutation("w21", "Lost.stays", "not any(key in keys for key in self.keys)", "False"),
    Mutation("w21", "Lost.stays", "not any(key in keys for key in self.keys)", "True"),
    Mutation("w21", "Lost.stays", "said.hides(whole)", "True"),
    Mutation("w21", "Content._judge", "before = self._whole", "pass"),
    Mutation("w21", "Content._completed", "self._blocking.rebuild is None", "True"),
    Mutation("w21", "Machine.distrust", "self._content.distrust()", "pass"),
    Mutation("w21", "judge", "unmoved and not known.failed", "False"),
    Mutation("w22", "Poll.__init__", "None if same else check", "None"),
    Mutation("w22", "Poll.__init__", "check if check is not None and same else plain(request)", "plain(request)"),
    Mutation("w22", "proves", 'meta.backend != "streaming" and meta.cache is None', "True"),
    Mutation("w22", "Content.age", "meta.age is None or meta.last_contact is None", "meta.age is None"),
    Mutation("w23", "sharing_key", "(msgspec.structs.replace(request, options=options), blocking)", "object()"),
    Mutation("w23", "Poll._unwanted", "self._polls.clock.now() - self._left >= self._polls.settings.linger", "True"),
    Mutation("w24", "Budget.take", "self._open + self.zombies >= self.limit", "False"),
    Mutation("w24", "Machine.start", 'ask.kind == "poll" and self._crowded', "False"),
    Mutation("w25", "Seat.leave", "self.poll.leave(self.bell)", "self.polls.forget(self.poll)"),
    Mutation("w25", "Budget.take", "self._open + self.zombies", "self._open"),
    Mutation("w26", "Pace.at", "max(now, self._paid_until - self._burst)", "now"),
    Mutation("w26", "Pace.__init__", "(free - 1) * interval", "0"),
    Mutation("w27", "Machine.ask", 'self._next == "confirm" or now < self._plain_until', 'self._next == "confirm"'),
    Mutation(
        "w28",
        "_kept",
        "was = old.get(key, item)",
        "was = next((one for name, one in old.items() if name == key), item)",
    ),
    Mutation("w28", "Poll._send", "len(answer.body) > _BIG", "False"),
    Mutation("w29", "difference", "found.append(Changed(was, item))", "pass"),
    Mutation("w29", "difference", "counts(was) != counts(item) if counts else was != item", "was != item"),
    Mutation("w30", "_Iterator.__anext__", "snapshot.version - self._seen.version - 1 if self._seen else 0", "0"),
    Mutation("w31", "Poll.join", "deque(maxlen=self._polls.settings.queue)", "deque(maxlen=1)"),
    Mutation("w31", "Changes._tell", "how.every and skipped > 0", "False"),
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
    Mutation("w35", "Seat.leave", "self.bell.ring()", "pass"),
    Mutation("w35", "Watch._taken", "self._seat.left", "False"),
    Mutation("w36", "Polls.aclose", "task.cancel()", "pass"),
    Mutation("w36", "Poll.finish", "self._ring()", "pass"),
    Mutation("w37", "Seat.resumes", "since.digest == digest(snapshot)", "False"),
    Mutation("w37", "Seat.resumes", "since.path == self.path", "True"),
    Mutation("w37", "Watch.cursor", "seat.told is None and self._how.since is not None", "False"),
    Mutation("w38", "Poll._tell", "{old, state} & _TROUBLE", "{state} & _TROUBLE"),
    Mutation("w38", "Polls.report", "Exception", "ZeroDivisionError"),
)

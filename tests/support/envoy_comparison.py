"""What a table says beside what a real Envoy did, and the count of it."""

from __future__ import annotations

from collections import Counter

from support.envoy_callers import Outcome

from aioconsulconnect.authorization.rules.verdict import Reason, Verdict

REFUSED, REDIRECTED = {400, 404, 431, 501}, 307  # 404: no route of Envoy has such a path
# What Envoy adds to a request, or says in its own words.
ENVOYS_OWN = {
    "x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms", "x-forwarded-client-cert", "content-length",
}  # fmt: skip


class Tally:
    """Decisions that were compared, and what differed in them."""

    def __init__(self) -> None:
        self.decisions = 0
        self.allowed = 0
        self.unruled: Counter[Reason] = Counter()
        self.reasons: Counter[Reason] = Counter()
        self.differences: list[str] = []

    def __str__(self) -> str:
        unsure = {reason.value: count for reason, count in self.unruled.most_common()}
        ruled = {reason.value: count for reason, count in self.reasons.most_common()}
        return (
            f"{self.decisions} decisions, {self.allowed} let in, by rule {ruled}, not by rule {unsure}, "
            f"{len(self.differences)} differences"
        )

    def request(self, verdict: Verdict, outcome: Outcome, about: object) -> None:
        """Compare one request: the decision, and what the application saw."""
        self._count(verdict, allowed=outcome.status == 200)
        difference = difference_in_request(verdict, outcome)
        if difference:
            self.differences.append(f"{difference}: {outcome} {verdict} {about}")

    def connection(self, verdict: Verdict, about: object, *, served: bool) -> None:
        """Compare one connection."""
        self._count(verdict, allowed=served)
        if verdict.allowed is not served and (verdict.reason.is_rule or verdict.allowed):
            self.differences.append(f"served {served}: {verdict} {about}")

    def _count(self, verdict: Verdict, *, allowed: bool) -> None:
        self.decisions += 1
        self.allowed += allowed
        (self.reasons if verdict.reason.is_rule else self.unruled)[verdict.reason] += 1

    @property
    def unsure(self) -> float:
        """The share of decisions that say nothing about Envoy: without a rule, and not because Envoy answers itself."""
        told = {Reason.REQUEST_REFUSED, Reason.REQUEST_REDIRECTED}
        return sum(count for reason, count in self.unruled.items() if reason not in told) / max(self.decisions, 1)


def difference_in_request(verdict: Verdict, outcome: Outcome) -> str:
    """What is wrong with a verdict, empty if nothing is."""
    status = outcome.status
    if verdict.reason is Reason.REQUEST_REFUSED:
        return "" if status in REFUSED and not verdict else "the table says that Envoy refuses"
    if verdict.reason is Reason.REQUEST_REDIRECTED:
        return "" if status == REDIRECTED and not verdict else "the table says that Envoy redirects"
    if not verdict.reason.is_rule:
        return "what is not known allows" if verdict else ""
    if not verdict:
        return "" if status == 403 else "the table denies by a rule"
    if status != 200:
        return "the table allows"
    assert verdict.request is not None
    if verdict.request.path != outcome.target:
        return "the application saw another path"
    told = [(name.lower(), value.strip(" \t")) for name, value in verdict.request.pairs]
    mine, theirs = ([pair for pair in pairs if pair[0] not in ENVOYS_OWN] for pairs in (told, outcome.headers))
    return "" if sorted(mine) == sorted(theirs) else f"the application saw other headers than {mine}"

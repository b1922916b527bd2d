"""Lookups: the same verdicts as the search, wherever they give one."""

from __future__ import annotations

import pytest
from support.authorization import HOME, allow, intent
from support.authorization_sets import Maker

from aioconsulconnect.authorization.rules.lookups import Lookups
from aioconsulconnect.authorization.rules.regex import is_available
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import Source
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import Intention

MODES: tuple[Mode, ...] = ("consul", "envoy")


def lookups_of(*intentions: Intention, mode: Mode = "consul", names: tuple[str, ...] = ()) -> Lookups:
    settings = DecisionSettings(default="deny", trust_domain=HOME, mode=mode)
    rows = Table.build(intentions, settings, destinations=names or None).rows
    return Lookups(rows, settings, frozenset(names) or None)


@pytest.mark.parametrize("mode", MODES)
def test_verdict_of_lookups_is_that_of_the_search(mode: Mode) -> None:
    told = 0
    for seed in range(300):
        maker = Maker(seed, regexes=is_available())
        settings = DecisionSettings(default="deny", trust_domain=HOME, mode=mode)
        for names in (None, ("db", "cache")):
            table = Table.build(maker.intentions(), settings, destinations=names)
            if table._lookups is None:
                continue
            for source in ("web", "api", "a.b", "axb", "*", "other", "w", "W"):
                for destination in ("db", "DB", "cache", "other", "api", "web"):
                    verdict = table._lookups.verdict(source, destination)
                    if verdict is not None:
                        told += 1
                        table._lookups = None
                        assert table.judge(Source(source), destination, None, None, mode) == verdict
                        table._lookups = Lookups(table.rows, settings, table.destinations)
    assert told > 5000


@pytest.mark.parametrize("source", ["", "team/web", "peer:east/web", f"spiffe://{HOME}/ns/default/dc/dc1/svc/web"])
def test_lookups_have_no_verdict_about_a_caller_that_is_no_plain_name(source: str) -> None:
    assert lookups_of(intent("*", "db", "allow")).verdict(source, "db") is None
    assert lookups_of(intent("*", "db", "allow"), names=("db",)).verdict(source, "db") is None


@pytest.mark.parametrize("destination", ["", "*", "team/db", "peer:east/db"])
def test_lookups_have_no_verdict_about_a_destination_that_is_no_plain_name(destination: str) -> None:
    assert lookups_of(intent("web", "db", "allow"), intent("web", "*", "allow")).verdict("web", destination) is None
    assert lookups_of(intent("web", "db", "allow"), intent("a/b", "*", "allow")).verdict("web", destination) is None


def test_lookups_have_no_verdict_where_a_sidecar_takes_a_name_for_a_pattern() -> None:
    intentions = (intent("a.b", "db", "allow"), intent("web", "cache", "allow"))
    assert lookups_of(*intentions).verdict("a.b", "db")
    sidecar = lookups_of(*intentions, mode="envoy")
    assert sidecar.verdict("a.b", "db") is None
    assert sidecar.verdict("web", "cache")


def test_lookups_have_the_reason_of_each_verdict() -> None:
    lookups = lookups_of(intent("web", "db", (allow(path_prefix="/"),)), names=("db",))
    reasons = [getattr(lookups.verdict(*pair), "reason", None) for pair in (("web", "x"), ("api", "db"), ("web", "DB"))]
    assert reasons == [Reason.DESTINATION_UNKNOWN, Reason.DEFAULT, Reason.REQUEST_NEEDED]

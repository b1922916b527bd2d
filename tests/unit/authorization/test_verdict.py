"""Verdicts: true when allowed, with the reason, and what belongs to which group."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from support.authorization import intent

from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied, precedence
from aioconsulconnect.structs.intentions import Intention


def test_verdict_is_true_when_allowed_and_false_otherwise() -> None:
    assert Verdict(allowed=True, reason=Reason.DEFAULT)
    assert not Verdict(allowed=False, reason=Reason.DEFAULT)


def test_verdict_is_frozen_hashable_and_pickles() -> None:
    verdict = denied(Reason.TOKEN, intent("web", "db", "allow"), 2)
    assert hash(Verdict(allowed=True, reason=Reason.DEFAULT)) == hash(Verdict(allowed=True, reason=Reason.DEFAULT))
    assert hash(verdict) == hash(denied(Reason.TOKEN, intent("web", "db", "allow"), 2))
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    with pytest.raises(AttributeError):
        verdict.allowed = True  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(verdict))["reason"] == "token"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_rule_an_ignorance_or_the_callers(reason: Reason) -> None:
    verdict = denied(reason)
    assert [reason.is_rule, verdict.by_ignorance, verdict.by_caller].count(True) == 1
    assert verdict.by_age is (reason is Reason.EXPIRED)
    assert verdict.by_default is (reason in {Reason.DEFAULT, Reason.NO_PERMISSION})


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("default/web", "default/db", 9), ("default/*", "default/db", 8), ("*/*", "default/db", 7),
        ("default/web", "default/*", 6), ("default/*", "default/*", 5), ("*/*", "default/*", 4),
        ("default/web", "*/*", 3), ("default/*", "*/*", 2), ("*/*", "*/*", 1),
    ],
)  # fmt: skip
def test_precedence_of_exact_names_is_higher(source: str, destination: str, expected: int) -> None:
    (source_namespace, source_name), (namespace, name) = source.split("/"), destination.split("/")
    one = Intention(
        source_namespace=source_namespace,
        source_name=source_name,
        destination_namespace=namespace,
        destination_name=name,
        action="allow",
    )
    assert precedence(one) == expected
    assert denied(Reason.INTENTION, one).precedence == expected
    assert denied(Reason.DEFAULT).precedence is None

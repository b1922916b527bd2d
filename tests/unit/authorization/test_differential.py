"""The table against a second opinion, over random sets of intentions; and what no order and no addition may change."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st
from support.authorization_oracle import Mesh, Question, consul, envoy
from support.authorization_sets import DESTINATIONS, Maker
from support.authorization_strategies import INTENTIONS, QUESTIONS, SETTINGS, answers, one_intention

from aioconsulconnect.authorization.rules.regex import is_available
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import Peer, Source
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import Action, Intention
from aioconsulconnect.structs.spiffe import SpiffeId

PER_SET = 40
SLASHES = ("", "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT")
UNDERSCORES = ("", "ALLOW", "REJECT_REQUEST", "DROP_HEADER")
HOME, EAST = "aaaa.consul", "bbbb.consul"


class World:
    """One random set with its settings, its table, and the tables of single destinations."""

    def __init__(self, seed: int, mode: Mode) -> None:
        self.maker = Maker(seed, regexes=is_available())
        chance = random.Random(-seed)
        self.default: Action = chance.choice(("allow", "deny"))
        self.mesh = Mesh(chance.random() < 0.8, chance.random() < 0.3, chance.choice(SLASHES), "ALLOW")
        self.mesh = Mesh(
            self.mesh.normalize, self.mesh.merge_slashes, self.mesh.escaped_slashes, chance.choice(UNDERSCORES)
        )
        self.mode = mode
        self.intentions = self.maker.intentions()
        self.settings = DecisionSettings(
            default=self.default,
            mode=mode,
            trust_domain=HOME,
            peers=(Peer(name="east", trust_domain=EAST),),
            enterprise=self.maker.has_tenancy,
            normalization=RequestNormalization(
                insecure_disable_path_normalization=not self.mesh.normalize,
                merge_slashes=self.mesh.merge_slashes,
                path_with_escaped_slashes_action=self.mesh.escaped_slashes,
                headers_with_underscores_action=self.mesh.underscores,
            ),
        )
        self.everything = Table.build(self.intentions, self.settings)
        self.single = {name: Table.build(self.intentions, self.settings, destinations=(name,)) for name in DESTINATIONS}

    def opinion(self, question: Question) -> bool:
        ask = consul if self.mode == "consul" else envoy
        return ask(self.intentions, self.default, question, self.mesh)

    def verdicts(self, question: Question) -> list[Verdict]:
        """What each table says, of each way to name the caller."""
        caller, destination, call, claims = question
        request = None if call is None else HTTPRequest(*call)
        given = None if call is None and not claims else claims
        source = Source(caller.name, caller.namespace, caller.partition, caller.peer)
        domain = EAST if caller.peer else HOME
        spiffe_id = SpiffeId(
            trust_domain=domain,
            partition=caller.partition,
            namespace=caller.namespace,
            datacenter="dc1",
            name=caller.name,
        )
        ways = (source, str(source), spiffe_id, str(spiffe_id), [str(spiffe_id)])
        found = [self.everything.check(way, destination, request, claims=given) for way in ways[1:4]]
        if destination in self.single:
            found += [self.single[destination].check(way, None, request, claims=given) for way in ways]
        return found


def compare(mode: Mode, seeds: range) -> tuple[int, int, int]:
    decisions = allowed = unsure = 0
    for seed in seeds:
        world = World(seed, mode)
        for question in world.maker.questions(PER_SET):
            expected = world.opinion(question)
            verdicts = world.verdicts(question)
            assert len({(verdict.allowed, verdict.reason) for verdict in verdicts}) == 1, (seed, question, verdicts)
            for verdict in verdicts:
                if verdict.reason is Reason.VERSIONS_DIFFER:
                    unsure += 1
                    assert not verdict
                else:
                    assert verdict.allowed is expected, (seed, question, verdict)
            decisions += len(verdicts)
            allowed += expected * len(verdicts)
    return decisions, allowed, unsure


@pytest.mark.parametrize("mode", ["consul", "envoy"])
def test_decisions_agree_with_the_second_opinion(mode: Mode) -> None:
    decisions, allowed, unsure = compare(mode, range(300))
    assert decisions > 50_000
    assert 0.2 < allowed / decisions < 0.8
    assert unsure < decisions / 20


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["consul", "envoy"])
def test_many_decisions_agree_with_the_second_opinion(mode: Mode) -> None:
    decisions, _, _ = compare(mode, range(1000, 6000))
    assert decisions > 1_000_000


# Two lists, so that some intentions have the same names, and contradict each other.
PERMUTED = st.builds(list.__add__, INTENTIONS, INTENTIONS).flatmap(
    lambda both: st.tuples(st.just(both), st.permutations(both))
)


@settings(max_examples=400, deadline=None)
@given(PERMUTED, SETTINGS, QUESTIONS)
@pytest.mark.slow
def test_order_of_the_list_never_matters(
    lists: tuple[list[Intention], list[Intention]], how: DecisionSettings, questions: list[Question]
) -> None:
    one, other = (Table.build(intentions, how) for intentions in lists)
    assert answers(one, questions) == answers(other, questions)


def covers(one: Intention, question: Question) -> bool:
    caller, destination, _, _ = question
    return (
        one.source_peer == caller.peer
        and one.source_name in {"*", caller.name}
        and one.source_namespace in {"*", caller.namespace}
        and one.destination_name.lower() in {"*", destination.lower()}
        and one.destination_namespace in {"*", "default"}
    )


@settings(max_examples=400, deadline=None)
@given(INTENTIONS, one_intention(), SETTINGS, QUESTIONS)
@pytest.mark.slow
def test_added_intention_never_changes_a_decision_that_it_does_not_cover(
    intentions: list[Intention], added: Intention, how: DecisionSettings, questions: list[Question]
) -> None:
    before, after = (Table.build(some, how) for some in (intentions, [*intentions, added]))
    others = [question for question in questions if not covers(added, question)]
    assert answers(before, others) == answers(after, others)

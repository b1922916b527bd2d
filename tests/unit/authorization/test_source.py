"""Who calls: every way to say it, and what is no identity of a service."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support.authorization import HOME, WEB

from aioconsulconnect.authorization.rules.source import Caller, Peer, Source, Trust, identify
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.spiffe import SpiffeId

EAST = "eeee.consul"
TRUST = Trust(domain=HOME, peers=(Peer(name="east", trust_domain=EAST, partition="blue"),))


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("web", Source("web")),
        ("Web", Source("Web")),
        ("team/web", Source("web", "team")),
        ("blue/team/web", Source("web", "team", "blue")),
        ("peer:east/web", Source("web", peer="east")),
        ("peer:east/team/web", Source("web", "team", peer="east")),
        (WEB, Source("web")),
        ([WEB], Source("web")),
        (SpiffeId.parse(WEB), Source("web")),
        (f"spiffe://{HOME}/ns/default/dc/dc9/svc/web%2Fadmin", Source("web/admin")),
        (f"spiffe://{HOME}/ap/blue/ns/team/dc/dc1/svc/web", Source("web", "team", "blue")),
        (f"spiffe://{EAST}/ap/blue/ns/default/dc/dc1/svc/web", Source("web", "default", "blue", "east")),
        (Source("web", "team"), Source("web", "team")),
    ],
)
def test_caller_is_identified(caller: Caller, expected: Source) -> None:
    assert identify(caller, TRUST) == expected


@pytest.mark.parametrize(
    "caller",
    [
        None, "", "/", "/web", "web/", "a/b/c/d", "peer:east", "peer:/web", "peer:east/", "peer:east/a/b/c", b"web", 5,
        "web://x", "spiffe://", f"SPIFFE{WEB[6:]}", f"{WEB}/", f"{WEB}?x", Source(""), Source("web", ""), ["web"],
        f"spiffe://{HOME}/gateway/mesh/dc/dc1", f"spiffe://{HOME}/agent/client/dc/dc1/id/web", f"spiffe://{HOME}",
        f"spiffe://{HOME}/agent/server/dc/dc1",
    ],
)  # fmt: skip
def test_what_is_no_service_is_not_identified(caller: Caller) -> None:
    assert identify(caller, TRUST) is Reason.NO_SERVICE


@pytest.mark.parametrize("uris", [[], (), [WEB, WEB], (WEB, "https://web"), ["web", "api"]])
def test_certificate_with_another_number_of_uris_than_one_is_not_identified(uris: Caller) -> None:
    assert identify(uris, TRUST) is Reason.SEVERAL_IDENTITIES


def test_foreign_trust_domain_is_not_identified() -> None:
    uri = WEB.replace(HOME, "other.consul")
    assert identify(uri, TRUST) is Reason.FOREIGN_TRUST_DOMAIN
    assert identify(uri, Trust(domain=HOME, compare=False)) == Source("web")


def test_trust_domain_is_compared_without_case() -> None:
    assert identify(WEB, Trust(domain=HOME.upper())) == Source("web")


def test_unknown_trust_domain_identifies_no_certificate_but_names() -> None:
    assert identify(WEB, Trust()) is Reason.TRUST_DOMAIN_UNKNOWN
    assert identify("web", Trust()) == Source("web")


def test_web_of_a_peer_is_not_the_local_web() -> None:
    found = identify(f"spiffe://{EAST}/ap/blue/ns/default/dc/dc1/svc/web", TRUST)
    assert found != identify(WEB, TRUST)
    assert identify(f"spiffe://{EAST}/ns/default/dc/dc1/svc/web", TRUST) is Reason.FOREIGN_TENANCY


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Source("web"), "web"),
        (Source("web", "team"), "team/web"),
        (Source("web", "default", "blue"), "blue/default/web"),
        (Source("web", peer="east"), "peer:east/default/web"),
    ],
)
def test_source_is_written_as_it_is_read(source: Source, text: str) -> None:
    assert str(source) == text
    assert identify(text, TRUST) == source


@given(st.one_of(st.text(), st.lists(st.text()), st.from_regex(r"spiffe://[ -~]*"), st.none(), st.integers()))
def test_no_caller_raises(caller: Caller) -> None:
    assert isinstance(identify(caller, TRUST), Source | Reason)

"""SPIFFE ids: every form there and back, and all that must be refused."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import assume, given, strategies as st

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.spiffe import SpiffeId

H = "11111111-2222-3333-4444-555555555555.consul"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"spiffe://{H}/ns/default/dc/dc1/svc/web", SpiffeId(trust_domain=H, datacenter="dc1", name="web")),
        (
            f"spiffe://{H}/ap/blue/ns/team/dc/dc1/svc/Web",
            SpiffeId(trust_domain=H, partition="blue", namespace="team", datacenter="dc1", name="Web"),
        ),
        (
            f"spiffe://{H}/agent/client/dc/dc1/id/node-1",
            SpiffeId(kind="agent", trust_domain=H, datacenter="dc1", name="node-1"),
        ),
        (
            f"spiffe://{H}/ap/blue/agent/client/dc/dc1/id/n",
            SpiffeId(kind="agent", trust_domain=H, partition="blue", datacenter="dc1", name="n"),
        ),
        (f"spiffe://{H}/gateway/mesh/dc/dc1", SpiffeId(kind="mesh-gateway", trust_domain=H, datacenter="dc1")),
        (
            f"spiffe://{H}/ap/blue/gateway/mesh/dc/dc1",
            SpiffeId(kind="mesh-gateway", trust_domain=H, partition="blue", datacenter="dc1"),
        ),
        (f"spiffe://{H}/agent/server/dc/dc1", SpiffeId(kind="server", trust_domain=H, datacenter="dc1")),
        (f"spiffe://{H}", SpiffeId(kind="signing", trust_domain=H)),
        (
            # What a real agent signs for such a name.
            f"spiffe://{H}/ns/default/dc/dc1/svc/%C3%A9%2A%20%5Ba+&;=@:,$",
            SpiffeId(trust_domain=H, datacenter="dc1", name="é* [a+&;=@:,$"),
        ),
    ],
)
def test_every_form_parses_and_formats(uri: str, expected: SpiffeId) -> None:
    assert SpiffeId.parse(uri) == expected
    assert str(expected) == uri
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        (f"spiffe://{H}/ns/default/dc/dc1/svc/we%62", f"spiffe://{H}/ns/default/dc/dc1/svc/web"),
        (f"spiffe://{H}/ap/Blue/ns/default/dc/dc1/svc/web", f"spiffe://{H}/ap/blue/ns/default/dc/dc1/svc/web"),
        (f"spiffe://{H}/ns/default/dc/dc1/svc/a%2fb", f"spiffe://{H}/ns/default/dc/dc1/svc/a%2Fb"),
    ],
)
def test_spellings_of_one_identity_are_equal(uri: str, canonical: str) -> None:
    assert SpiffeId.parse(uri) == SpiffeId.parse(canonical)
    assert str(SpiffeId.parse(uri)) == canonical


def test_an_encoded_slash_never_makes_another_form() -> None:
    parsed = SpiffeId.parse(f"spiffe://{H}/ns/default/dc/dc1/svc/web%2Fadmin")
    assert parsed.name == "web/admin"
    with pytest.raises(InvalidRequest):
        SpiffeId.parse(f"spiffe://{H}/ns%2Fdefault/dc/dc1/svc/web")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "web",
        f"SPIFFE://{H}/ns/default/dc/dc1/svc/web",
        f"https://{H}/ns/default/dc/dc1/svc/web",
        f"spiffe:/{H}/ns/default/dc/dc1/svc/web",
        "spiffe:///ns/default/dc/dc1/svc/web",
        f"spiffe://{H.replace('consul', 'CONSUL')}/ns/default/dc/dc1/svc/web",
        f"spiffe://user@{H}/ns/default/dc/dc1/svc/web",
        f"spiffe://{H}:8443/ns/default/dc/dc1/svc/web",
        f"spiffe://{H}/ns/default/dc/dc1/svc/web?x=1",
        f"spiffe://{H}/ns/default/dc/dc1/svc/web#x",
        f"spiffe://{H}/ns/default/dc/dc1/svc/web/",
        f"spiffe://{H}/ap/default/ns/default/dc/dc1/svc/web",
        f"spiffe://{H}/ap/DEFAULT/ns/default/dc/dc1/svc/web",
        f"spiffe://{H}/ap/def%61ult/ns/default/dc/dc1/svc/web",
        f"spiffe://{H}/",
        f"spiffe://{H}//ns/default/dc/dc1/svc/web",
        f"spiffe://{H}/ns//dc/dc1/svc/web",
        f"spiffe://{H}/ns/default/dc/dc1/svc/",
        f"spiffe://{H}/ns/default/dc/dc1/svc/web\n",
        f"spiffe://{H}/ns/default/dc/dc1/svc/%zz",
        f"spiffe://{H}/ns/default/dc/dc1/svc/a%2",
        f"spiffe://{H}/ns/default/dc/dc1/svc/%ff",
        f"spiffe://{H}/ns/default/dc/dc1/svc/%00",
        f"spiffe://{H}/ns/default/dc/dc1/svc/%2e%2e",
        f"spiffe://{H}/ns/default/dc/dc1/svc/a b",
        f"spiffe://{H}/ns/default/dc/dc1/svc/é",
        f"spiffe://{H}/NS/default/dc/dc1/svc/web",
        f"spiffe://{H}/dc/dc1/ns/default/svc/web",
        f"spiffe://{H}/ap/blue",
        f"spiffe://{H}/ap/blue/agent/server/dc/dc1",
        f"spiffe://{H}/ns/default/dc/dc1/svc/web/more",
        f"spiffe://{H}/ns/default/dc/dc1/svc/" + "a" * 2048,
    ],
)
def test_malformed_spiffe_id_is_refused(uri: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SpiffeId.parse(uri)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "fields",
    [
        {"datacenter": "dc1"},
        {"name": "web"},
        {"kind": "signing", "name": "web"},
        {"kind": "server", "datacenter": "dc1", "partition": "blue"},
        {"kind": "agent", "datacenter": "dc1", "name": "n", "namespace": "team"},
        {"kind": "nope"},
        {"datacenter": "dc1", "name": "web", "trust_domain": "A.consul"},
        {"datacenter": "dc1", "name": "web", "partition": "Blue"},
        {"datacenter": "dc1", "name": "we\nb"},
    ],
)
def test_an_id_that_consul_would_not_sign_cannot_be_made(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        SpiffeId(**{"trust_domain": H, **fields})  # type: ignore[arg-type]


def test_the_trust_domain_is_compared_whatever_its_case() -> None:
    web = SpiffeId(trust_domain=H, datacenter="dc1", name="web")
    assert web.belongs_to(H.upper())
    assert not web.belongs_to("other.consul")


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda name: name.isprintable() and name not in {".", ".."}
)


@given(name=NAMES, namespace=NAMES, partition=NAMES.map(str.lower), datacenter=NAMES)
def test_any_service_survives_the_round_trip(name: str, namespace: str, partition: str, datacenter: str) -> None:
    assume(partition == partition.lower() and partition.isprintable())
    made = SpiffeId(trust_domain=H, name=name, namespace=namespace, partition=partition, datacenter=datacenter)
    uri = str(made)
    assume(len(uri) <= 2048)
    assert uri.isascii()
    assert SpiffeId.parse(uri) == made


@given(st.text())
def test_any_text_parses_or_raises_our_error(text: str) -> None:
    for uri in (text, f"spiffe://{H}/{text}", f"spiffe://{H}/ns/default/dc/dc1/svc/{text}"):
        try:
            parsed = SpiffeId.parse(uri)
        except InvalidRequest:
            continue
        assert SpiffeId.parse(str(parsed)) == parsed

"""W39 and W40: which of two leaves is the newer one, and nothing is told where nothing happened; all roots at once."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.fakes import Answer, Call, Told, World, idle

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Options

LEAF = "/v1/agent/connect/ca/leaf/web"
BEGIN = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(subject: str, issuer: str, after: dt.datetime, serial: int) -> str:
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    built = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key(subject).public_key())
        .serial_number(serial)
        .not_valid_before(after)
        .not_valid_after(after + 72 * HOUR)
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key(subject).public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key(issuer).public_key()), critical=False)
        .sign(key(issuer), hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def leaf(serial: int, hours: float, root: str = "one", index: int = 0) -> bytes:
    """A leaf of that root, valid from so many hours on."""
    after = BEGIN + hours * HOUR
    pem = key("web").private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    fields = {
        "SerialNumber": f"{serial:02x}",
        "CertPEM": certificate("web", root, after, serial),
        "PrivateKeyPEM": pem.decode(),
        "Service": "web",
        "ServiceURI": "spiffe://x.consul/ns/default/dc/dc1/svc/web",
        "ValidAfter": after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ValidBefore": (after + 72 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ModifyIndex": index,
    }
    return json.dumps(fields).encode()


def roots(active: str, *others: str) -> bytes:
    listed = [
        {
            "ID": name,
            "Name": "Consul CA Root Cert",
            "SigningKeyID": signing_key_id(name),
            "RootCert": certificate(name, name, BEGIN, 1),
            "NotBefore": BEGIN.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Active": name == active,
        }
        for name in (active, *others)
    ]
    return json.dumps({"ActiveRootID": active, "TrustDomain": "x.consul", "Roots": listed}).encode()


def signing_key_id(name: str) -> str:
    digest = x509.SubjectKeyIdentifier.from_public_key(key(name).public_key()).digest
    return ":".join(f"{byte:02x}" for byte in digest)


def two_agents(world: World, first: tuple[bytes, str], second: tuple[bytes, str], known_roots: bytes) -> None:
    """A balancer gives each request to the other agent; each has a leaf and an index of its own."""
    turns = itertools.count()

    async def balanced(call: Call) -> Answer | None:
        if call.path != LEAF:
            return Response(200, {"x-consul-index": "9"}, known_roots)
        body, index = (first, second)[next(turns) % 2]
        if call.parameters.get("index") == index:
            await world.clock.sleep(call.wait)
        return Response(200, {"x-consul-index": index, "x-cache": "HIT"}, body)

    world.consul.fault = balanced


@pytest.mark.parametrize("first", ["older", "newer"])
async def test_w39_leaves_of_two_agents_behind_one_balancer_are_told_once(first: str) -> None:
    """The one that was issued later stays, and nothing is told over and over."""
    older, newer = (leaf(1, 4), "15"), (leaf(2, 5), "28")
    async with World() as world:
        two_agents(world, *((older, newer) if first == "older" else (newer, older)), roots("one"))
        async with Agent(world.consul, world.polls, Options()).leaf("web").watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(600)
            serials = [found.serial_number for found in told.got]
            assert serials == (["01", "02"] if first == "older" else ["02"])
            assert watch.status.state == "synced"
            assert len(world.consul.calls) < 900


async def test_w39_of_two_leaves_issued_at_one_moment_the_first_stays() -> None:
    async with World() as world:
        two_agents(world, (leaf(1, 4), "15"), (leaf(2, 4), "28"), roots("one"))
        async with Agent(world.consul, world.polls, Options()).leaf("web").watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(300)
            assert [found.serial_number for found in told.got] == ["01"]


async def test_w39_of_two_leaves_issued_within_one_second_the_index_tells_which_is_later() -> None:
    async with World() as world:
        two_agents(world, (leaf(1, 4, index=15), "15"), (leaf(2, 4, index=28), "28"), roots("one"))
        async with Agent(world.consul, world.polls, Options()).leaf("web").watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(300)
            assert [found.serial_number for found in told.got] == ["01", "02"]


async def test_w39_a_leaf_that_was_passed_over_is_told_once_its_root_is_known() -> None:
    """The clock of the server that signs after a rotation is behind: only the roots tell which leaf counts."""
    async with World() as world:
        issued, known_roots = [(leaf(1, 4), "15")], [roots("one")]

        async def rotated(call: Call) -> Answer | None:
            if call.path != LEAF:
                return Response(200, {"x-consul-index": "9"}, known_roots[-1])
            body, index = issued[-1]
            if call.parameters.get("index") == index:
                await world.consul.moved.wait(world.clock, call.wait)
                body, index = issued[-1]
            return Response(200, {"x-consul-index": index, "x-cache": "MISS"}, body)

        world.consul.fault = rotated
        async with Agent(world.consul, world.polls, Options()).leaf("web").watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(100)
            issued.append((leaf(2, 3.999, "two"), "28"))
            known_roots.append(roots("two", "one"))
            world.consul.wake()
            await world.clock.advance(70)
            assert [found.serial_number for found in told.got] == ["01", "02"]
            assert watch.current.serial_number == "02"


async def test_w39_a_leaf_of_the_active_root_replaces_a_later_one_of_another() -> None:
    """A restore undid a rotation: what the discarded root has signed later is worth nothing."""
    async with World() as world:
        two_agents(world, (leaf(1, 6, "two"), "15"), (leaf(2, 5, "one"), "28"), roots("one", "two"))
        async with Agent(world.consul, world.polls, Options()).leaf("web").watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(600)
            assert [found.serial_number for found in told.got] == ["01", "02"]


async def test_w39_a_leaf_that_was_issued_later_is_told() -> None:
    async with World() as world:
        world.consul.headers["x-cache"] = "MISS"
        world.consul.put(leaf(1, 4))
        async with Agent(world.consul, world.polls, Options()).leaf("web").watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(3)
            for number in range(2, 5):
                world.consul.put(leaf(number, 4 + number))
                await world.clock.advance(3)
            assert [found.serial_number for found in told.got] == ["01", "02", "03", "04"]


async def test_w40_new_roots_are_told_at_once_with_all_that_are_still_trusted() -> None:
    async with World() as world:
        world.consul.put(roots("one"))
        async with Agent(world.consul, world.polls, Options()).roots().watch() as watch:
            told: Told = Told(watch.snapshots(), world.clock)
            await world.clock.advance(10)
            world.consul.put(roots("one", "two"))  # the next one is trusted before it signs
            await idle()
            world.consul.put(roots("two", "one"))
            await idle()
            world.consul.put(roots("two"))
            await idle()
            listed = [({root.id for root in found.roots}, found.active and found.active.id) for found in told.got]
            assert listed == [({"one"}, "one"), ({"one", "two"}, "one"), ({"one", "two"}, "two"), ({"two"}, "two")]

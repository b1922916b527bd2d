"""A private key is never shown, whatever text of whatever struct holds it, and never lost."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pprint import pformat

import msgspec
import pytest
from support.structs import of_consul

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse, redact
from aioconsulconnect.structs import (
    AgentService,
    CAConfiguration,
    EntryKey,
    HealthCheck,
    Intention,
    Leaf,
    Node,
    ProviderConfig,
    Proxy,
    ProxyDefaults,
    ServiceDefaults,
    UnknownEntry,
    dump_entries,
    read_entries,
)
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.structs.config_entries.kinds import entry_body, read_entry
from aioconsulconnect.structs.intentions import read_list
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.changes import Added, Batch, Changed, Removed

SECRET = "MHcCAQEEIBt5c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0oAoGCCqGSM49"
KINDS = ("", "EC ", "RSA ", "ENCRYPTED ", "OPENSSH ", "X25519 ")
KEY = f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----\n"
CERTIFICATE = UnknownEntry(content={"Kind": "inline-certificate", "Name": "web", "PrivateKey": KEY})
HOLDERS = [
    CERTIFICATE,
    UnknownEntry(content={"Kind": "new", "Name": "x", "Files": [{"text": KEY}]}),
    ProxyDefaults(config={"envoy": {"tls": [KEY]}}),
    ServiceDefaults(name="db", meta={"note": KEY}),
    ServiceDefaults(name="db", unknown=(("Newer", {"Key": KEY}),)),
    AgentService(id="db", service="db", proxy=Proxy(config={"key": KEY})),
    Intention(source_name="web", destination_name="db", description=KEY),
    Intention(source_name=KEY, destination_name="db"),
    HealthCheck(output=KEY),
    Node(meta={"k": KEY}),
    EntryKey("service-defaults", "", "", KEY),
]


def ways(value: object) -> list[str]:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "found %s, %r", (value, value), None)
    return [repr(value), str(value), f"{value}", f"{[value]}", pformat({"a": value}), record.getMessage()]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_key_in_any_text_of_a_struct_is_not_shown(holder: object) -> None:
    for change in (
        holder,
        Added(key=1, new=holder),
        Changed(key=1, old=holder, new=holder),
        Removed(key=1, old=holder),
    ):
        for shown in ways(change):
            assert SECRET not in shown
            assert "BEGIN" not in shown
    assert SECRET not in repr(Batch(changes=(Added(key=1, new=holder),)))


@pytest.mark.parametrize("kind", KINDS)
def test_key_of_any_kind_is_not_shown_whole_or_cut_off(kind: str) -> None:
    begin, end = f"-----BEGIN {kind}PRIVATE KEY-----\n", f"\n-----END {kind}PRIVATE KEY-----"
    for text in (begin + SECRET + end, begin + SECRET, f"a{begin}{SECRET}{end}b{begin}{SECRET}"):
        assert SECRET not in repr(ProxyDefaults(config={"x": text}))
        assert SECRET not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{SECRET}\n-----END PGP PRIVATE KEY BLOCK-----",
        f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{SECRET}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    ],
)
def test_key_in_another_armour_is_not_shown(text: str) -> None:
    assert redact(f"before {text} after") == "before <private key> after"


def test_certificate_beside_a_key_is_shown() -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    shown = repr(UnknownEntry(content={"Kind": "inline-certificate", "Certificate": certificate, "PrivateKey": KEY}))
    assert "AAAA" in shown
    assert SECRET not in shown


def test_configuration_of_a_provider_hides_a_key_under_any_name() -> None:
    config = ProviderConfig({"LeafCertTTL": "72h", "Bundle": KEY})
    found = CAConfiguration(
        provider="x", config=config, state={"k": KEY}, force_without_cross_signing=False, create_index=1, modify_index=1
    )
    assert SECRET not in repr(found)
    assert config["Bundle"] == KEY


def test_leaf_whose_certificate_has_the_key_too_hides_both() -> None:
    leaf = msgspec.convert(
        {
            "CertPEM": KEY,
            "PrivateKeyPEM": KEY,
            "Service": "db",
            "ServiceURI": "spiffe://x",
            "ValidAfter": "2026-01-01T00:00:00Z",
            "ValidBefore": "2026-01-02T00:00:00Z",
        },
        Leaf,
    )
    assert SECRET not in repr(leaf)
    assert SECRET not in repr(leaf.__rich_repr__())


def test_pickling_and_writing_keep_the_key() -> None:
    for holder in HOLDERS:
        assert pickle.loads(pickle.dumps(holder)) == holder
    assert SECRET.encode() in entry_body(CERTIFICATE)
    assert read_entries(dump_entries([CERTIFICATE])) == (CERTIFICATE,)
    assert read_entry(entry_body(CERTIFICATE)) == CERTIFICATE


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (read_list, [{"Action": KEY}]),
        (reader(Leaf), {"ValidAfter": KEY}),
        (read_entry, {"Kind": "service-defaults", "Name": KEY, "MaxInboundConnections": KEY}),
        (read_entry, {"Kind": "service-resolver", "Name": "x", "ConnectTimeout": KEY}),
    ],
)
def test_error_of_a_body_does_not_quote_the_key_nor_do_its_causes(
    read: Callable[[bytes], object], body: object
) -> None:
    with pytest.raises(UnreadableResponse) as caught:
        read(msgspec.json.encode(body))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        assert SECRET not in str(error)
        error = error.__cause__


def _nothing(_: Response) -> None:
    pass


def test_request_and_response_do_not_show_the_key_in_their_bodies() -> None:
    body = entry_body(CERTIFICATE)
    assert SECRET.encode() in body
    for shown in ways(Request(method="PUT", path="/v1/config", decode=_nothing, body=body)) + ways(
        Response(200, {}, body)
    ):
        assert SECRET not in shown


def test_message_of_an_error_hides_the_key() -> None:
    error = InvalidRequest(f"{KEY!r} is no name")
    assert SECRET not in f"{error}{error!r}{error.message}{error.args}"
    assert SECRET not in str(pickle.loads(pickle.dumps(error)))


def test_every_struct_has_the_repr_that_hides_keys() -> None:
    for kind in of_consul():
        assert kind.__repr__ is not msgspec.Struct.__repr__, kind

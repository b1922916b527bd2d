"""A private key is never shown, whatever text of whatever struct holds it, and never lost."""

from __future__ import annotations

import logging
import pickle
import time
import traceback
from collections.abc import Callable, Hashable
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
from aioconsulconnect.structs.codec.given_type import ItemsByKey
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.structs.config_entries.kinds import entry_body, read_entry, read_listing
from aioconsulconnect.structs.intentions import read_list
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Reply, Response
from aioconsulconnect.watch.changes import Added, Batch, Changed, Removed
from aioconsulconnect.watch.protocol.snapshot import Snapshot

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


class Pair(msgspec.Struct):
    """A struct of a caller's."""

    key: str
    value: bytes


OF_CALLERS = [{"k": KEY}, [KEY.encode()], Pair("k", KEY.encode())]


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


@pytest.mark.parametrize("holder", OF_CALLERS, ids=lambda holder: type(holder).__name__)
def test_private_key_in_an_item_of_a_type_of_the_callers_is_not_shown(holder: object) -> None:
    changes = Added(key=1, new=holder), Changed(key=1, old=holder, new=holder), Removed(key=1, old=holder)
    state = Snapshot(value=holder, items={1: holder}, index=1, time=0, version=1, body=KEY.encode())
    for value in (*changes, Batch(changes), Reply(holder, Meta()), state):
        assert not [shown for shown in ways(value) if SECRET in shown]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_key_is_not_shown_to_pretty_printers(holder: msgspec.Struct) -> None:
    for value in (holder, Added(key=1, new=holder), Reply(holder, Meta())):
        assert SECRET not in repr(value.__rich_repr__())


def test_fields_without_a_key_are_shown_to_pretty_printers_as_they_are() -> None:
    shown = ServiceDefaults(name="db", protocol="http", meta={"note": KEY}).__rich_repr__()
    assert shown == [("meta", "{'note': '<private key>\\n'}"), ("name", "db"), ("protocol", "http")]


@pytest.mark.parametrize("kind", KINDS)
def test_key_of_any_kind_is_not_shown_whole_or_cut_off(kind: str) -> None:
    begin, end = f"-----BEGIN {kind}PRIVATE KEY-----\n", f"\n-----END {kind}PRIVATE KEY-----"
    for text in (begin + SECRET + end, begin + SECRET, f"a{begin}{SECRET}{end}b{begin}{SECRET}"):
        assert SECRET not in repr(ProxyDefaults(config={"x": text}))
        assert SECRET not in redact(text)


@pytest.mark.parametrize("end_of_line", ["\n", "\r\n", "\\n", " "])
@pytest.mark.parametrize("kind", KINDS)
def test_key_that_is_cut_off_at_its_beginning_is_not_shown(kind: str, end_of_line: str) -> None:
    rest = end_of_line.join([SECRET, SECRET[:20] + "/+==", f"-----END {kind}PRIVATE KEY-----"])
    for text in (
        rest,
        f"-BEGIN {kind}PRIVATE KEY-----{end_of_line}{rest}",
        f"AES-128,4E{end_of_line}{rest} and: {rest}",
    ):
        assert SECRET[:10] not in redact(text)
        assert SECRET[:10] not in repr(HealthCheck(output=text))
        assert SECRET[:10] not in repr(Added(key=1, new=text.encode()))
    assert redact(f"id 7; {rest} was read") == "id 7;<private key> was read"


@pytest.mark.parametrize(
    "part",
    [
        "a",
        f"{SECRET}\n",
        "-",
        "-----BEGIN ",
        "-----END ",
        "----- ",
        "-----BEGIN PRIVATE KEY ",
        "PRIVATE KEY",
        "aaa----",
    ],
)
def test_time_to_look_for_keys_is_in_proportion_to_the_text(part: str) -> None:
    for text in (
        part * (2**18 // len(part)) + "PRIVATE KEY",
        "-----BEGIN " + part * (2**18 // len(part)) + "PRIVATE KEY",
    ):
        started = time.process_time()
        redact(text)
        assert time.process_time() - started < 1


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
        (read_entry, {"Kind": "service-intentions", "Name": "x", "Sources": [{"Name": "a", "Action": KEY}]}),
        (read_listing, [{"Kind": "service-intentions", "Name": "x", "Sources": [{"Name": "a", "Action": KEY}]}]),
        (read_entries, [{"Kind": "service-intentions", "Name": "x", "Sources": [{"Name": "a", "Action": KEY}]}]),
    ],
)
def test_error_of_a_body_does_not_quote_the_key_nor_do_its_causes(
    read: Callable[[bytes], object], body: object
) -> None:
    with pytest.raises((UnreadableResponse, InvalidRequest)) as caught:
        read(msgspec.json.encode(body))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        assert SECRET not in str(error)
        error = error.__cause__
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_error_of_a_key_function_that_quotes_the_key_is_not_chained() -> None:
    def quoting(item: str) -> Hashable:
        raise ValueError(f"cannot use {item}")

    def quoting_behind(item: str) -> Hashable:
        try:
            return quoting(item)
        except ValueError as error:
            raise LookupError("no key") from error

    for key in (quoting, quoting_behind):
        with pytest.raises(InvalidRequest, match="key fails") as caught:
            ItemsByKey(key)([KEY])
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(InvalidRequest) as caught:
            ItemsByKey(key)(["harmless"])
        assert caught.value.__cause__ is not None


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
        assert kind.__rich_repr__ is not msgspec.Struct.__rich_repr__, kind

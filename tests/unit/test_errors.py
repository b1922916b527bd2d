"""Errors: they say what was asked and what to do, belong to the builtins they resemble, travel, and keep secrets."""

from __future__ import annotations

import copy
import pickle

import pytest

from aioconsulconnect import errors
from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    InvalidRequest,
    NotFound,
    RequestTimeout,
    ResponseTooLarge,
    SettingsError,
    UnreadableResponse,
    Unsupported,
)

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ConsulError)]

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFPcAYsp\n-----END EC PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InvalidRequest, ValueError),
        (SettingsError, InvalidRequest),
        (ConnectionFailed, ConnectionError),
        (RequestTimeout, TimeoutError),
        (ResponseTooLarge, UnreadableResponse),
        (Closed, RuntimeError),
    ],
)
def test_error_is_caught_as_the_builtin_that_it_extends(kind: type[ConsulError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin):
        raise kind("no")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotFound("no such thing"), "no such thing"),
        (NotFound("no such thing", method="GET", path="/v1/x"), "GET /v1/x: no such thing"),
        (
            NotFound("no such thing", status=404, text="gone\n\n", method="GET", path="/v1/x"),
            "GET /v1/x: 404 'gone' (no such thing)",
        ),
        (NotFound("no such thing", status=404, method="GET", path="/v1/x"), "GET /v1/x: 404 no such thing"),
    ],
)
def test_the_text_says_what_was_asked_and_what_was_said(error: ConsulError, text: str) -> None:
    assert str(error) == text


def test_an_error_is_told_what_was_asked() -> None:
    error = UnreadableResponse("bad JSON", status=200)
    assert error.about("GET", "/v1/x", "http://a:1", 500) is error
    assert (error.method, error.path, error.address, error.status) == ("GET", "/v1/x", "http://a:1", 500)
    assert error.about("PUT", "/v1/y").status == 500  # what was known stays known


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("transfer", [lambda error: pickle.loads(pickle.dumps(error)), copy.deepcopy])
def test_errors_travel_whole(kind: type[ConsulError], transfer: object) -> None:
    assert callable(transfer)
    error = kind("do this", status=500, text="said", method="PUT", path="/v1/x", address="http://a:1")
    if isinstance(error, Unsupported):
        error.min_version = "1.9"
    back = transfer(error)
    assert type(back) is kind
    assert (str(back), back.args, back.__dict__) == (str(error), error.args, error.__dict__)


def test_a_private_key_is_never_quoted() -> None:
    whole = ConsulError("no", text=f'{{"PrivateKey": "{KEY}", "More": 1}}')
    assert "MHcCAQEEIFPcAYsp" not in f"{whole!r} {whole} {whole.__dict__}"
    assert "More" in whole.text
    cut_off = ConsulError("no", text=KEY[:45])
    assert "MHc" not in cut_off.text


def test_a_key_that_the_cut_would_leave_half_is_taken_out_before_the_cut() -> None:
    error = ConsulError("no", text="x" * 1980 + KEY)
    assert "MHc" not in error.text
    assert len(error.text) <= 2000


def test_a_long_text_is_cut() -> None:
    assert len(ConsulError("no", text="x" * 5000).text) == 2000


def test_unsupported_says_what_it_needs() -> None:
    assert Unsupported("too old", min_version="1.9").min_version == "1.9"
    assert Unsupported("too old").min_version == ""


def test_every_error_says_who_must_act() -> None:
    assert all(kind.__doc__ for kind in ALL)

"""Options in, parameters out."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Consistency, Option, Options, check_token

ALL: frozenset[Option] = frozenset({"datacenter", "namespace", "partition", "consistency", "cached"})


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


@st.composite
def some_options(draw: st.DrawFn) -> Options:
    cached = draw(st.none() | st.booleans())
    modes: tuple[Consistency, ...] = ("default", "stale") if cached else ("default", "stale", "consistent")
    return Options(
        datacenter=draw(st.none() | texts),
        namespace=draw(st.none() | texts),
        partition=draw(st.none() | texts),
        consistency=draw(st.none() | st.sampled_from(modes)),
        cached=cached,
        token=draw(st.none() | texts),
        timeout=draw(st.none() | st.floats(0.001, 1000)),
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"consistency": "eventual"}, "consistency"),
        ({"cached": True, "consistency": "consistent"}, "contradict"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"token": "a\nb"}, "token"),
        ({"token": "schlüssel"}, "token"),
    ],
)
def test_options_with_an_invalid_value_are_refused_at_construction(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        msgspec.structs.replace(NO_OPTIONS, **wrong)
    assert "schlüssel" not in str(caught.value)


def test_a_token_that_no_header_can_carry_is_not_quoted() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_token("se\x00cret")
    assert "se" not in str(caught.value).replace("set", "").replace("these", "").split()
    check_token("5e1f0b9c-0000-4000-8000-000000000001")


@given(some_options(), some_options())
def test_options_over_a_default_keep_set_values_and_take_the_rest_from_it(options: Options, default: Options) -> None:
    try:
        merged = options.over(default)
    except InvalidRequest:
        assert True in {options.cached, default.cached}
        assert "consistent" in {options.consistency, default.consistency}
        return
    for name in Options.__struct_fields__:
        own = getattr(options, name)
        assert getattr(merged, name) == (getattr(default, name) if own is None else own)


@given(some_options())
def test_no_options_change_nothing(options: Options) -> None:
    assert options.over(NO_OPTIONS) == options == NO_OPTIONS.over(options)
    assert pickle.loads(pickle.dumps(options)) == options


@given(some_options())
def test_the_token_is_never_shown(options: Options) -> None:
    secret = Options(token="5e1f0b9c-secret").over(options)
    assert "5e1f0b9c" not in repr(secret)
    assert ("token", "***") in secret.__rich_repr__()
    assert "token='***'" in repr(secret).replace("token=***", "token='***'")


def test_the_repr_shows_what_is_set() -> None:
    assert repr(Options(datacenter="dc2", cached=False)) == "Options(datacenter='dc2', cached=False)"
    assert repr(NO_OPTIONS) == "Options()"


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (NO_OPTIONS, ()),
        (Options(datacenter="dc2"), (("dc", "dc2"),)),
        (Options(namespace="a", partition="b"), (("ns", "a"), ("partition", "b"))),
        (Options(consistency="stale"), (("stale", ""),)),
        (Options(consistency="consistent"), (("consistent", ""),)),
        (Options(consistency="default"), ()),
        (Options(cached=True), (("cached", ""),)),
        (Options(cached=False, token="t", timeout=3, namespace=""), ()),
    ],
)
def test_options_become_parameters_where_they_are_taken(
    options: Options, parameters: tuple[tuple[str, str], ...]
) -> None:
    assert options.parameters(ALL) == parameters
    assert options.parameters(frozenset()) == ()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Options(datacenter="dc2"), "datacenter"),
        (Options(namespace="a"), "namespace"),
        (Options(partition="a"), "partition"),
        (Options(consistency="stale"), "consistency"),
        (Options(cached=True), "cached"),
    ],
)
def test_an_option_that_would_be_ignored_raises(options: Options, name: Option) -> None:
    with pytest.raises(InvalidRequest, match=name) as caught:
        options.refuse_ignored(ALL - {name}, "PUT", "/v1/x")
    assert (caught.value.method, caught.value.path) == ("PUT", "/v1/x")
    options.refuse_ignored(ALL, "PUT", "/v1/x")


def test_options_with_default_consistency_and_no_cache_are_never_refused() -> None:
    Options(consistency="default", cached=False, token="t", timeout=1).refuse_ignored(frozenset(), "PUT", "/v1/x")


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5"])
def test_timeout_that_is_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidRequest, match="timeout must be a number of seconds above 0"):
        Options(timeout=timeout)


@pytest.mark.parametrize("name", ["datacenter", "namespace", "partition", "token"])
def test_option_that_is_no_text_is_refused_by_its_name(name: str) -> None:
    given: dict[str, Any] = {name: 5}
    with pytest.raises(InvalidRequest, match=f"{name} must be a text, not int"):
        Options(**given)

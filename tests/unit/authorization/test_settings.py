"""Settings of decisions: what is not known at first, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Peer, Trust
from aioconsulconnect.errors import InvalidRequest


def test_settings_know_nothing_at_first() -> None:
    settings = DecisionSettings()
    assert settings.default is None
    assert settings.mode == "consul"
    assert settings.trust == Trust()


def test_trust_holds_what_identities_are_compared_with() -> None:
    peers = (Peer(name="east", trust_domain="e.consul"),)
    settings = DecisionSettings(trust_domain="h.consul", peers=peers)
    assert settings.trust == Trust(domain="h.consul", compare=True, peers=peers)
    with pytest.raises(InvalidRequest, match="peers"):
        DecisionSettings(trust_domain="h.consul", compare_trust_domain=False, peers=peers)


@pytest.mark.parametrize("wrong", [{"default": "ALLOW"}, {"default": True}, {"mode": "strict"}, {"default": ""}])
def test_value_that_there_is_not_raises_invalid_request(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        DecisionSettings(**wrong)

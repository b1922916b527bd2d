"""The versions of Consul that the in-process agent plays, oldest first: the one list for all tests."""

from __future__ import annotations

from typing import get_args

import pytest

from aioconsulconnect.testing import Version

VERSIONS: tuple[Version, ...] = get_args(Version)
NEWEST: Version = VERSIONS[-1]
EACH_VERSION = [pytest.param(one, marks=[] if one in {VERSIONS[0], NEWEST} else [pytest.mark.slow]) for one in VERSIONS]
"""Each of them for a parameter: the oldest and the newest always, those between in the long run."""

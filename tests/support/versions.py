"""The versions of Consul that the in-process agent plays, oldest first: the one list for all tests."""

from __future__ import annotations

from typing import get_args

from aioconsulconnect.testing import Version

VERSIONS: tuple[Version, ...] = get_args(Version)
NEWEST: Version = VERSIONS[-1]

"""Async client for Consul's service mesh (Connect)."""

from aioconsulconnect.version import __version__

__all__ = ["__version__"]

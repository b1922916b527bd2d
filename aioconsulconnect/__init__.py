"""Async client for Consul's service mesh (Connect)."""

__version__ = "0.1.0"

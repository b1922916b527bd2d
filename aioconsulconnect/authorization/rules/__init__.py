"""Semantics of intentions: what matches, and what that decides."""

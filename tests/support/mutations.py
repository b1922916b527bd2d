"""
For each requirement of a watch, what takes the behaviour away when it is changed.

`test_mutations` makes one of these changes at a time in a copy of the package, and sees that the tests of that
requirement fail. `support.mutator` finds the place: by the name of the symbol, wherever in the package it stands, and
by the syntax of a node in it, whatever its layout.
"""

from __future__ import annotations

from support.mutation import Mutation
from support.mutations_protocol import PROTOCOL
from support.mutations_truth import TRUTH

MUTATIONS: tuple[Mutation, ...] = (*PROTOCOL, *TRUTH)

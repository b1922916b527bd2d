"""
Local decisions: who may connect to what, and with which requests.

A program holds an `Authorizer`, which `Consul.authorizer` makes; its `check` gives a `Verdict`. Without an agent the
same decisions come from a `Table`, built of intentions and `DecisionSettings`; `lint` and `explain` look at these.
"""

from typing import TYPE_CHECKING

from aioconsulconnect.lazy import lazy_names

if TYPE_CHECKING:
    from aioconsulconnect.authorization.access import AccessChange as AccessChange, AccessChanges as AccessChanges
    from aioconsulconnect.authorization.authorizer import Authorizer as Authorizer
    from aioconsulconnect.authorization.authorizer_status import (
        AuthorizerCounters as AuthorizerCounters,
        AuthorizerState as AuthorizerState,
        AuthorizerStatus as AuthorizerStatus,
        Decision as Decision,
        DecisionHook as DecisionHook,
        Visibility as Visibility,
    )
    from aioconsulconnect.authorization.body_fields import unknown_fields as unknown_fields
    from aioconsulconnect.authorization.default_policy import DefaultPolicy as DefaultPolicy
    from aioconsulconnect.authorization.explanation import Explanation as Explanation, explain as explain
    from aioconsulconnect.authorization.findings import Finding as Finding, Problem as Problem, lint as lint
    from aioconsulconnect.authorization.rules.permissions import Claims as Claims
    from aioconsulconnect.authorization.rules.request import HTTPRequest as HTTPRequest
    from aioconsulconnect.authorization.rules.settings import DecisionSettings as DecisionSettings, Mode as Mode
    from aioconsulconnect.authorization.rules.source import Caller as Caller, Peer as Peer, Source as Source
    from aioconsulconnect.authorization.rules.verdict import Reason as Reason, Verdict as Verdict
    from aioconsulconnect.authorization.table import Table as Table
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "access": "AccessChange AccessChanges",
            "authorizer": "Authorizer",
            "authorizer_status": "AuthorizerCounters AuthorizerState AuthorizerStatus Decision DecisionHook Visibility",
            "default_policy": "DefaultPolicy",
            "explanation": "Explanation explain",
            "findings": "Finding Problem lint",
            "rules.permissions": "Claims",
            "rules.request": "HTTPRequest",
            "rules.settings": "DecisionSettings Mode",
            "rules.source": "Caller Peer Source",
            "rules.verdict": "Reason Verdict",
            "table": "Table",
            "body_fields": "unknown_fields",
        },
    )

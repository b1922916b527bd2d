"""Where the in-process agent still answers otherwise than a real one in conversations, and why."""

import re
from typing import NamedTuple


class Known(NamedTuple):
    """A difference that is left: the subject, the versions, a pattern of `Finding.signature`, and the reason."""

    subject: str
    versions: tuple[str, ...]
    pattern: str
    reason: str

    def fits(self, signature: str) -> bool:
        return re.search(self.pattern, signature) is not None


_NEWER = ("1.16", "1.22")
KNOWN: tuple[Known, ...] = (
    Known(
        "entries",
        _NEWER,
        r"^status (PUT|DELETE) /v1/config .*: 403 Permission denied",
        "clients may not write the kind bound-api-gateway; Consul looks at the body before it says so",
    ),
    Known(
        "services",
        _NEWER,
        r"^body GET /v1/catalog/gateway-services .*ServiceKind",
        "what is behind a wildcard, Consul learns at some of the registrations",
    ),
    Known(
        "rights",
        _NEWER,
        r"^words PUT /v1/acl/(policy|role|token) : 400 ",
        "the decoder names the struct in which a member is embedded",
    ),
    Known(
        "watched-writes",
        _NEWER,
        r"^wake .*/v1/health/(service|connect)/web: ours not woken, index unmoved, real not woken, index moved",
        "a view of health that is made anew has the index of that moment",
    ),
)


def expected(subject: str, version: str) -> tuple[Known, ...]:
    """The differences that are left for a subject in a version."""
    return tuple(known for known in KNOWN if known.subject == subject and version in known.versions)

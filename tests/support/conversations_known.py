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


KNOWN: tuple[Known, ...] = ()


def expected(subject: str, version: str) -> tuple[Known, ...]:
    """The differences that are left for a subject in a version."""
    return tuple(known for known in KNOWN if known.subject == subject and version in known.versions)

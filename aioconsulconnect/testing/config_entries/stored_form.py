"""The form in which an entry is kept and shown."""

import hashlib

from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.versions import VersionFacts


def stored_form(entry: Object, struct: Struct, facts: VersionFacts) -> Object:
    """An entry as it is kept and shown, with the number that stands for its content."""
    shaped = shape({**entry, "Hash": None}, struct, facts.version)
    if not facts.entry_hash:
        return shaped
    content = repr({key: value for key, value in shaped.items() if not key.endswith("Index")})
    number = int.from_bytes(hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).digest())
    return shape({**shaped, "Hash": number}, struct, facts.version)

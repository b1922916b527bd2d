"""The form in which a configuration entry is stored and shown."""

import hashlib

from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.versions import VersionFacts


def stored_form(entry: Object, struct: Struct, facts: VersionFacts) -> Object:
    """Shape an entry as it is stored and shown, with the hash of its content where the version has it.

    - `entry`: the checked entry.
    - `struct`: the shape of its kind.
    - `facts`: the version.
    """
    shaped = shape({**entry, "Hash": None}, struct, facts.version)
    if not facts.entry_hash:
        return shaped
    content = repr({key: value for key, value in shaped.items() if not key.endswith("Index")})
    number = int.from_bytes(hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).digest())
    return shape({**shaped, "Hash": number}, struct, facts.version)

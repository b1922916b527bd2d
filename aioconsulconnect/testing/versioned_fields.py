"""The members of requests and answers that not every version has: one table, read from the shapes."""

from collections.abc import Iterator

from aioconsulconnect.testing.config_entries.intention_shapes import INTENTION, INTENTION_FILTER
from aioconsulconnect.testing.config_entries.kinds import KINDS
from aioconsulconnect.testing.go_json.schema import Field, Struct, walk
from aioconsulconnect.testing.handlers.service_shapes import (
    AGENT_SERVICE,
    CATALOG_SERVICE,
    CHECK,
    HEALTHY_SERVICE,
    SERVICE_DEFINITION,
)
from aioconsulconnect.testing.versions import OLDEST


def structs() -> Iterator[Struct]:
    """Every object that has members of its own in some version."""
    yield from (INTENTION, INTENTION_FILTER)
    yield from (kind.struct for kind in KINDS if kind.struct)
    yield from (SERVICE_DEFINITION, AGENT_SERVICE, CATALOG_SERVICE, HEALTHY_SERVICE, CHECK)


def versioned_fields() -> Iterator[Field]:
    """The members that came with a version, or went with one; the same name may come in several objects."""
    for struct in structs():
        yield from (field for field in walk(struct) if field.since != OLDEST or field.until)

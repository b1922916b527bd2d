"""The members of requests and answers that not every version has, read from the shapes."""

from collections.abc import Iterator

from aioconsulconnect.testing.config_entries.kinds import KINDS
from aioconsulconnect.testing.config_entries.shapes.intentions import INTENTION, INTENTION_FILTER
from aioconsulconnect.testing.go_json.schema import Field, Struct, walk
from aioconsulconnect.testing.handlers.service_shapes import (
    AGENT_SERVICE,
    CATALOG_SERVICE,
    CHECK,
    HEALTHY_SERVICE,
)
from aioconsulconnect.testing.registration.definition_shapes import SERVICE_DEFINITION
from aioconsulconnect.testing.versions import OLDEST


def structs() -> Iterator[Struct]:
    """Every object shape that the agent models: intentions, configuration entries, services and checks."""
    yield from (INTENTION, INTENTION_FILTER)
    yield from (kind.struct for kind in KINDS if kind.struct)
    yield from (SERVICE_DEFINITION, AGENT_SERVICE, CATALOG_SERVICE, HEALTHY_SERVICE, CHECK)


def versioned_fields() -> Iterator[Field]:
    """The members that came with a later version than the oldest, or that went with one.

    The same name may come several times, for several objects.
    """
    for struct in structs():
        yield from (field for field in walk(struct) if field.since != OLDEST or field.until)

"""Rules of every Consul for `service-intentions` entries, told by the name of the field."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.intention_rules import check_description, check_jwt, check_rule, check_types


def check_entry(entry: ServiceIntentions) -> None:
    """Raise InvalidRequest, with the field of `entry`, for what every Consul version refuses."""
    with _named(repr(entry.name)):
        check_types(entry)
    if not entry.name:
        raise InvalidRequest("an entry of service-intentions needs the name of its destination")
    with _named(repr(entry.name)):
        _check_wildcards(entry)
        if not entry.sources:
            raise InvalidRequest("at least one source is required")
        check_description("", entry.meta)
        check_jwt("jwt", entry.jwt)
    for i, source in enumerate(entry.sources):
        if not source.name:
            raise InvalidRequest(f"{entry.name!r}: sources[{i}].name is required; '*' stands for all services")
        with _named(f"{source.name!r} => {entry.name!r}"):
            _check_wildcards(source)
            if source.type not in {"", "consul"}:
                raise InvalidRequest(f"type must be 'consul' or left out, not {source.type!r}")
            check_rule(source.action, source.permissions, destination=entry.name)
            check_description(source.description, source.legacy_meta)


@contextmanager
def _named(what: str) -> Generator[None]:
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: {error.message}") from error


def _check_wildcards(given: ServiceIntentions | SourceIntention) -> None:
    for field, text in (("name", given.name), ("namespace", given.namespace)):
        if "*" in text and text != "*":
            raise InvalidRequest(f"{field}: '*' stands for a whole name, not for a part of {text!r}")
    if given.namespace == "*" != given.name:
        raise InvalidRequest(f"name: {given.name!r} names a service after the namespace '*'")
    for field in ("partition", "peer", "sameness_group"):
        if "*" in getattr(given, field, ""):
            raise InvalidRequest(f"{field} takes no '*'")

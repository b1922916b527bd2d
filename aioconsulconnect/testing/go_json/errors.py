"""Errors as Go words them."""

from collections.abc import Mapping


class DecodeError(ValueError):
    """What Go's decoder says about a body."""


def go_type(value: object) -> str:
    """What Go calls the type of a JSON value."""
    if isinstance(value, bool):
        return "bool"
    names: Mapping[type, str] = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return next(name for kind, name in names.items() if isinstance(value, kind))


def errors(messages: list[str]) -> str:
    """Several complaints in the list form that ends in two newlines."""
    lines = [f"\t* {message}\n" for message in messages]
    return f"{len(lines)} error{'s' if len(lines) > 1 else ''} occurred:\n{''.join(lines)}\n"

"""Errors as Go words them."""

from collections.abc import Mapping


class DecodeError(ValueError):
    """A body that Go's decoder refuses; the text is Go's."""


class FatalNullError(Exception):
    """A null in a list of structs with a decoder of their own, at which a handler of Consul panics."""


class NotModelledError(Exception):
    """A body of which the agent does not know what Consul makes; the text names the member."""


class NotCheckedError(NotModelledError):
    """A value of a member that Consul checks and the agent does not."""

    def __init__(self, path: str) -> None:
        super().__init__(f"The in-process agent does not check {path} as Consul does, so it takes no value there")


class NullInOpenMapError(NotModelledError):
    """A null in an open map, such as `Config`: a real Consul ends at one, or can be read no more."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The in-process agent takes no null in an open map ({path}): at one a real Consul ends, on some versions,"
            " or drops the connection of whoever reads it"
        )


def go_type(value: object) -> str:
    """Go's name for the type of a JSON value: bool, string, number, array or object."""
    if isinstance(value, bool):
        return "bool"
    names: Mapping[type, str] = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return next(name for kind, name in names.items() if isinstance(value, kind))


def errors(messages: list[str]) -> str:
    """Format complaints as Consul lists them: their number, a line for each, two newlines at the end."""
    lines = [f"\t* {message}\n" for message in messages]
    return f"{len(lines)} error{'s' if len(lines) > 1 else ''} occurred:\n{''.join(lines)}\n"

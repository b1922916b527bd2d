"""Answers other than 200: refusals in Consul's words, and connections that end without an answer."""


class Refused(Exception):
    """An answer other than 200, with Consul's text."""

    def __init__(self, status: int, text: str, *, from_server: bool = False, at: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.from_server = from_server
        """Whether the server refused rather than the HTTP layer: such answers of some paths carry an index of 1."""
        self.at = at
        """The index that a missing configuration entry comes with."""


class Dropped(Exception):
    """The connection ends without an answer, as it does when a handler of Consul panics."""


def refused_by_server(text: str, status: int = 500) -> Refused:
    """A refusal that comes from the server behind the HTTP layer."""
    return Refused(status, text, from_server=True)


def failed(text: str) -> Refused:
    """A refusal that the HTTP layer calls a failure."""
    return Refused(500, text)

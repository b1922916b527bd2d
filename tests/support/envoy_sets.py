"""Random sets of intentions and requests for a real Envoy: as odd as callers and operators can make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace
from support.authorization_oracle import Call
from support.authorization_sets import METHODS as USUAL_METHODS, NAMES, TARGETS, VALUES, Maker

from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import HeaderPermission, HTTPPermission, Intention, Permission

PATTERNS = ("a.b", "w.b", "a+b", "[a-w]+b", "web|api", "w(e|x)b", "we", "é", "w x", "a:b", "w%20x")
CALLERS = (*NAMES, "other", "webx", "we", "a.b", "axb", "a+b", "aab", "wxb", "é", "w x", "a:b")
PIECES = (
    "/", "//", ".", "..", "%2e", "%2E", "a", "%61", "%2F", "%2f", "\\", "%5c", "{", "?", ";", "~", "admin", "b",
    "a", "b", "/a", "/admin", "%25", "%32", "&", "=", "'", "|", "[", "^", "%2e%2e", "`", "%7E", "/..", "/.", "%20",
)  # fmt: skip
ODD_HEADERS = (
    "x-forwarded-client-cert", "x-forwarded-proto", "x-request-id", "cookie", "host", ":authority", ":scheme",
)  # fmt: skip
RARE = ("%00", "é", "#", "\x7f", "%", "%4", "%zz", "..;", "..;x")
SENT = (
    "x-role", "x-role", "X-ROLE", "x-team", "X-Team", "x_role", "connection", "cookie", "x-other", "x-envoy-internal",
)  # fmt: skip
METHODS = (*USUAL_METHODS, "GET", "PUT", "OPTIONS")
SLASHES = ("", "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT")
UNDERSCORES = ("", "ALLOW", "REJECT_REQUEST", "DROP_HEADER")


class OddMaker(Maker):
    """All of one seed; the intentions have no tokens."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, regexes=True)

    def _intention(self) -> Intention:
        one = replace(super()._intention(), jwt=None)
        if one.source_namespace != "*" and self.random.random() < 0.12:
            one = replace(one, source_name=self.random.choice(PATTERNS))
        if one.destination_name == "cache" and self.random.random() < 0.8:
            one = replace(one, destination_name="db")
        if one.destination_name != "*" and one.action and self.random.random() < 0.3:
            permissions = tuple(self._permission() for _ in range(self.random.randint(1, 3)))
            one = replace(one, action=None, permissions=permissions)
        return one

    def _permission(self) -> Permission:
        if self.random.random() < 0.4:
            header = tuple(self._header() for _ in range(self.random.randint(1, 2)))
            return Permission(action=self._action(), http=HTTPPermission(header=header))
        permission = replace(super()._permission(), jwt=None)
        http = permission.http
        if http is not None and http.methods and http.header and self.random.random() < 0.6:
            permission = replace(permission, http=replace(http, methods=()))  # else few requests match
        return permission

    def _header(self) -> HeaderPermission:
        header = super()._header()
        pick, chance = self.random.choice, self.random.random
        if header.regex and chance() < 0.3:
            header = replace(header, regex=pick(("a.", ".", "a[^b]")))  # of "é" there are one or two, by version
        return replace(header, name=pick(ODD_HEADERS)) if chance() < 0.04 else header

    def normalization(self) -> RequestNormalization:
        """The settings of the mesh entry."""
        pick, chance = self.random.choice, self.random.random
        return RequestNormalization(
            insecure_disable_path_normalization=chance() < 0.15,
            merge_slashes=chance() < 0.3,
            path_with_escaped_slashes_action=pick(SLASHES),
            headers_with_underscores_action=pick(UNDERSCORES),
        )

    def calls(self, count: int, intentions: Sequence[Intention]) -> Iterator[Call]:
        """Requests, each with a header `Host`; half of those that can come near to a permission do."""
        pick, chance = self.random.choice, self.random.random
        wanted = [permission for one in intentions for permission in one.permissions]
        for _ in range(count):
            method, target = pick(METHODS), pick(TARGETS) if chance() < 0.6 else self._target()
            headers = [(pick(SENT), pick((*VALUES, "é", " a\t", "aé"))) for _ in range(pick((0, 0, 1, 1, 2, 3)))]
            if wanted and chance() < 0.5:
                method, target, headers = self._near(pick(wanted), method, target, headers)
            if chance() < 0.02:
                headers.append(pick((("upgrade", "h2c"), ("x-big", "a" * 70_000), ("keep-alive", "1"))))
            yield Call(method, target, (("Host", pick(("db", "db", "DB:80", "x.example"))), *headers))

    def _near(
        self, permission: Permission, method: str, target: str, headers: list[tuple[str, str]]
    ) -> tuple[str, str, list[tuple[str, str]]]:
        """A request that may match a permission: what it asks for, without a look at what it excludes."""
        pick, http = self.random.choice, permission.http
        assert http is not None
        if http.path_exact or http.path_prefix:
            target = (http.path_exact or http.path_prefix + pick(("", "/", "x", "/../b"))) + pick(
                ("", "", "?q", "?x=/b")
            )
        headers = [pair for pair in headers if self.random.random() < 0.5]
        for header in http.header:
            if not header.name.startswith(":") and header.name != "host":
                text = header.exact or pick(("", "b")) + (header.prefix or header.suffix or header.contains or "a")
                if header.regex:
                    text = pick(("é", "aé", "a", "aab"))
                headers.append((header.name, pick((text, text, text.upper(), text.swapcase(), text + "é"))))
                if self.random.random() < 0.2:
                    headers.insert(0, (header.name, pick(VALUES)))
        return pick(http.methods or (method,)), target, headers

    def _target(self) -> str:
        pick, chance = self.random.choice, self.random.random
        target = "/" + "".join(pick(PIECES) for _ in range(self.random.randint(0, 6)))
        if chance() < 0.1:
            target += pick(RARE)
        return f"http://b.example{target}" if chance() < 0.03 else target

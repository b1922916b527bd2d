"""Random sets of intentions, callers and requests, from a seed: what the two opinions on authorization are asked."""

from __future__ import annotations

import random
from collections.abc import Iterator

from support.authorization_oracle import Call, Caller, Question

from aioconsulconnect.structs.intentions import (
    Action,
    HeaderPermission,
    HTTPPermission,
    Intention,
    JWTProviderRequirement,
    JWTRequirement,
    Permission,
    VerifyClaim,
)

NAMES = ("web", "api", "cron", "Web")
DESTINATIONS = ("db", "cache")
PATHS = ("/", "/a", "/a/b", "/admin", "/admin/x", "/b")
TARGETS = (
    "/", "/a", "/a/", "/a/b", "/a/b?x=/admin", "/admin", "/admin/x", "/x/../admin", "/a/%2e%2e/admin", "/%61dmin",
    "//admin", "/a//b", "/a%2Fb", "/a/./b", "/admin%2f..%2fa", "/a\\b", "/b?q", "/a/..", "/%zz", "/admin/..", "/a b",
    "/a#b", "/a%00", "/..", "/{a}", "/a/..;/admin", "/a/.%2E/..%2f/b",
)  # fmt: skip
METHODS = ("GET", "POST", "DELETE")
VALUES = ("a", "A", "ab", "b", "", "a,b", "ba")


class Maker:
    """All of one seed."""

    def __init__(self, seed: int, *, regexes: bool) -> None:
        self.random = random.Random(seed)
        self.regexes = regexes
        self.has_tenancy = self.random.random() < 0.25

    def intentions(self) -> list[Intention]:
        found: dict[object, Intention] = {}
        for _ in range(self.random.randint(0, 9)):
            one = self._intention()
            found.setdefault((one.key, one.source_partition), one)
        everything = list(found.values())
        self.random.shuffle(everything)
        return everything

    def _intention(self) -> Intention:
        pick = self.random.choice
        namespaces = ("default", "team", "*") if self.has_tenancy else ("default",)
        source_namespace, destination_namespace = pick(namespaces), pick(("default", *namespaces))
        source = "*" if source_namespace == "*" else pick((*NAMES, "*", "*"))
        destination = "*" if destination_namespace == "*" else pick((*DESTINATIONS, "*"))
        permissions: tuple[Permission, ...] = ()
        if destination != "*" and self.random.random() < 0.5:
            permissions = tuple(self._permission() for _ in range(self.random.randint(1, 4)))
        peer = pick(("", "", "", "east"))
        return Intention(
            source_namespace=source_namespace,
            source_name=source,
            source_peer=peer,
            source_partition=pick(("", "blue")) if self.has_tenancy and not peer else "",
            destination_namespace=destination_namespace,
            destination_name=destination,
            action=None if permissions else self._action(),
            permissions=permissions,
            jwt=self._jwt(),
        )

    def _action(self) -> Action:
        return "allow" if self.random.random() < 0.5 else "deny"

    def _jwt(self) -> JWTRequirement | None:
        if self.random.random() < 0.75:
            return None
        claims = (VerifyClaim(path=("roles", "first"), value="admin"),) if self.random.random() < 0.5 else ()
        names = self.random.sample(("okta", "auth0"), self.random.randint(0, 2))
        return JWTRequirement(providers=tuple(JWTProviderRequirement(name=n, verify_claims=claims) for n in names))

    def _permission(self) -> Permission:
        pick = self.random.choice
        kind = pick(("path_exact", "path_prefix", "path_regex" if self.regexes else "path_prefix", ""))
        path = pick(PATHS) if kind != "path_regex" else pick(("/a.*", "/[a-c]+", "/admin(/.*)?"))
        methods = tuple(sorted(self.random.sample(METHODS, self.random.randint(0, 2))))
        header = tuple(self._header() for _ in range(pick((0, 0, 1, 2))))
        if not kind and not methods and not header:
            methods = ("GET",)
        http = HTTPPermission(
            methods=methods,
            header=header,
            path_exact=path if kind == "path_exact" else "",
            path_prefix=path if kind == "path_prefix" else "",
            path_regex=path if kind == "path_regex" else "",
        )
        return Permission(action=self._action(), http=http, jwt=self._jwt())

    def _header(self) -> HeaderPermission:
        pick = self.random.choice
        kind = pick(("present", "exact", "prefix", "suffix", "contains", "regex" if self.regexes else "exact"))
        invert = self.random.random() < 0.3
        name = pick(("x-role", "X-Team", "x_role", ":path", ":method"))
        if kind == "present":
            return HeaderPermission(name=name, present=True, invert=invert)
        text = pick(("a", "A", "b", "ab", "/a"))
        if kind == "regex":
            return HeaderPermission(name=name, regex=pick(("a+", "[^a]*", ".*b")), invert=invert)
        ignore_case = self.random.random() < 0.4
        return HeaderPermission(
            name=name,
            invert=invert,
            ignore_case=ignore_case,
            exact=text if kind == "exact" else "",
            prefix=text if kind == "prefix" else "",
            suffix=text if kind == "suffix" else "",
            contains=text if kind == "contains" else "",
        )

    def questions(self, count: int) -> Iterator[Question]:
        pick = self.random.choice
        for _ in range(count):
            peer = pick(("", "", "", "east"))
            caller = Caller(
                pick((*NAMES, "other", "other")),
                pick(("default", "default", "team")) if self.has_tenancy else "default",
                pick(("default", "default", "blue")) if self.has_tenancy and not peer else "default",
                peer,
            )
            call = None
            if self.random.random() < 0.7:
                names = ("x-role", "X-ROLE", "x-team", "x_role", "connection", "host")
                headers = tuple((pick(names), pick(VALUES)) for _ in range(self.random.randint(0, 3)))
                call = Call(pick(METHODS), pick(TARGETS), headers)
            claims: dict[str, dict[str, object]] = {}
            for provider in self.random.sample(("okta", "auth0"), self.random.randint(0, 2)):
                claims[provider] = {"roles": pick(({"first": "admin"}, {"first": ["admin"]}, {}, "admin"))}
            yield Question(caller, pick((*DESTINATIONS, "DB", "other")), call, claims)

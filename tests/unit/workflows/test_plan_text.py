"""Text of a plan: whatever the plan changes has a line, and no text of an entry makes a line of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from support.canned import CannedSender

from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.intentions import (
    HeaderPermission,
    HTTPPermission,
    JWTProviderRequirement,
    JWTRequirement,
    Permission,
    VerifyClaim,
)
from aioconsulconnect.transport.settings.options import NO_OPTIONS
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.workflows.plan import Obstacle, Plan

PEM = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"


@dataclass
class Planned:
    """Plans that were made elsewhere."""

    config: Config

    def changes(self, old: ServiceIntentions, new: ServiceIntentions) -> str:
        return str(Plan(self.config, None, added=(), changed=((old, new),), removed=()))

    def adds(self, *added: ServiceIntentions) -> str:
        return str(Plan(self.config, None, added=added, changed=(), removed=()))

    def removes(self, *removed: ServiceIntentions) -> str:
        return str(Plan(self.config, None, added=(), changed=(), removed=removed))


@pytest.fixture
def planned(sender: CannedSender, polls: PollerPool) -> Planned:
    return Planned(Config(sender, polls, NO_OPTIONS))


def entry(*sources: SourceIntention, name: str = "db") -> ServiceIntentions:
    return ServiceIntentions(name=name, sources=sources)


def source(http: HTTPPermission, jwt: JWTRequirement | None = None) -> SourceIntention:
    return SourceIntention(name="web", permissions=(Permission(action="allow", http=http, jwt=jwt),))


def role(value: str, *, invert: bool = False) -> HTTPPermission:
    return HTTPPermission(path_prefix="/", header=(HeaderPermission(name="x-role", exact=value, invert=invert),))


def okta(value: str) -> JWTRequirement:
    claim = VerifyClaim(path=("perms", "role"), value=value)
    return JWTRequirement(providers=(JWTProviderRequirement(name="okta", verify_claims=(claim,)),))


A = HTTPPermission(path_exact="/a")
OTHER_RULES = [
    (source(role("root")), source(role("guest")), "header(name='x-role' exact='guest')"),
    (source(role("root")), source(role("root", invert=True)), "header(name='x-role' exact='root' invert=True)"),
    (source(A), source(HTTPPermission(path_regex="/a")), "path_exact='/a' -> permissions allow path_regex='/a'"),
    (source(HTTPPermission(path_prefix="/a")), source(HTTPPermission(path_exact="/a*")), "path_exact='/a*'"),
    (source(A), source(A, JWTRequirement()), "-> permissions allow path_exact='/a' jwt()"),
    (
        source(A, okta("admin")),
        source(A, okta("user")),
        "jwt(providers(name='okta' verify_claims(path='perms' path='role' value='user')))",
    ),
    (source(A), source(replace(A, unknown=(("Query", {"a": 1}),))), "path_exact='/a' Query={'a': 1}"),
    (source(A), replace(source(A), unknown=(("Priority", 2),)), "path_exact='/a' Priority=2"),
]


@pytest.mark.parametrize(("old", "new", "words"), OTHER_RULES)
def test_other_rule_has_a_line_with_other_words(
    planned: Planned, old: SourceIntention, new: SourceIntention, words: str
) -> None:
    line = planned.changes(entry(old), entry(new))
    assert line.startswith("~ web => db: permissions allow ")
    assert words in line
    before, after = line.removeprefix("~ web => db: ").split(" -> ")
    assert before != after
    api = SourceIntention(name="api", action="allow")
    assert planned.changes(entry(old), entry(new, api)).splitlines() == ["+ api => db: allow", line]


def test_rules_with_the_same_words_have_a_line(planned: Planned) -> None:
    one, other = (SourceIntention(name="web", action="allow", description=PEM.format(key)) for key in "ab")
    assert planned.changes(entry(one), entry(other)) == "~ web => db: other conditions"


def test_rules_of_the_same_meaning_have_no_line(planned: Planned) -> None:
    get = HTTPPermission(methods=("get",))
    old = replace(source(HTTPPermission(methods=("GET",))), legacy_id="1", type="consul", precedence=9)
    api = SourceIntention(name="api", action="deny")
    assert planned.changes(entry(old), entry(source(get), api)) == "+ api => db: deny"


def test_what_holds_for_all_sources_has_a_line(planned: Planned) -> None:
    web = entry(SourceIntention(name="web", action="allow"))
    asking = replace(web, jwt=JWTRequirement(providers=(JWTProviderRequirement(name="okta"),)))
    jwt = "jwt(providers(name='okta'))"
    assert planned.changes(web, asking) == f"~ db: no conditions -> {jwt}"
    assert planned.changes(web, replace(web, unknown=(("Foo", 1),))) == "~ db: no conditions -> Foo=1"
    assert planned.changes(web, replace(web, meta={"owner": "a"})) == "~ db: meta"
    assert planned.adds(asking).splitlines() == ["+ web => db: allow", f"+ db: {jwt}"]
    assert planned.removes(asking).splitlines() == ["- web => db: allow", f"- db: {jwt}"]
    assert planned.removes(entry()) == "- db: no sources"


def test_names_say_which_service_is_meant(planned: Planned) -> None:
    web = SourceIntention(name="web", action="allow")
    found = entry(web, replace(web, namespace="n"), replace(web, partition="p", namespace="n"))
    assert planned.adds(replace(found, namespace="m")).splitlines() == [
        "+ web => m/db: allow",
        "+ n/web => m/db: allow",
        "+ p/n/web => m/db: allow",
    ]
    assert planned.adds(entry(replace(web, sameness_group="g"))) == "+ sameness-group:g/web => db: allow"


FORGED = "x\n- web => vault: allow"


@pytest.mark.parametrize(
    "given",
    [
        entry(SourceIntention(name="web", action="allow", description=FORGED)),
        entry(SourceIntention(name=FORGED, action="allow")),
        entry(SourceIntention(name="web", peer=FORGED, action="allow")),
        entry(SourceIntention(name="web", namespace=FORGED, action="allow")),
        entry(SourceIntention(name="web", action="allow", unknown=((FORGED, FORGED),))),
        entry(source(HTTPPermission(path_regex=FORGED))),
        entry(SourceIntention(name="web", action="allow"), name=FORGED),
        entry(SourceIntention(name="web", action="allow", description="a\u2028b")),
    ],
)
def test_line_break_in_an_entry_makes_no_line(planned: Planned, given: ServiceIntentions) -> None:
    (line,) = planned.adds(given).splitlines()
    assert line.startswith("+ ")
    assert line.isprintable()


def test_line_break_in_a_problem_or_note_makes_no_line(planned: Planned) -> None:
    plan = Plan(planned.config, None, added=(), changed=(), removed=(), obstacles=(Obstacle(FORGED),), notes=(FORGED,))
    assert str(plan).splitlines() == ["nothing to do", f"! {FORGED!r}", f"? {FORGED!r}"]


def test_private_key_is_not_shown_and_hides_nothing_else(planned: Planned) -> None:
    cut = PEM.format("SECRET").partition("\n-----END")[0]
    for text in (PEM.format("SECRET"), cut, cut.replace("\n", " ")):
        allow = SourceIntention(name="web", action="allow", description=text)
        deny = replace(allow, action="deny")
        assert planned.changes(entry(allow), entry(deny)) == (
            "~ web => db: allow (<private key>) -> deny (<private key>)"
        )
        shown = planned.adds(
            entry(source(HTTPPermission(path_regex=text))), entry(replace(allow, unknown=(("Foo", [text]),)), name="x")
        )
        assert "SECRET" not in shown
        assert len(shown.splitlines()) == 2

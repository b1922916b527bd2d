"""Each recipe does what its docstring says, against an agent inside the process; test_web_recipes has the others."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recipes.dialling
import recipes.gitops
import recipes.notifier
from support.agents_under_test import GuardedAgent
from support.package import FOLDER

from aioconsulconnect import Consul, HTTPPermission, Permission
from aioconsulconnect.structs import Check, ServiceDefaults
from aioconsulconnect.testing import Agent, Faults

HERE = Path(__file__).parent
PATIENCE = 8.0
READ_ONLY = Permission(action="allow", http=HTTPPermission(path_prefix="/", methods=("GET",)))


async def until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it is so, or fail."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


# The notifier.


class Inbox:
    """What was sent."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    async def send(self, message: str) -> None:
        self.messages.append(message)

    async def has(self, *parts: str) -> str:
        """Wait for a message that has all these parts."""

        def found() -> list[str]:
            return [message for message in self.messages if all(part in message for part in parts)]

        await until(lambda: bool(found()))
        return found()[-1]


@asynccontextmanager
async def notifying(consul: Consul) -> AsyncIterator[Inbox]:
    inbox = Inbox()
    task = asyncio.create_task(recipes.notifier.notify(consul, inbox.send))
    try:
        yield inbox
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
    assert task.cancelled()


async def test_notifier_tells_each_change_of_intentions_and_roots(consul: Consul, consul_agent: Agent) -> None:
    await consul.config.write(ServiceDefaults(name="db", protocol="http"))
    await consul.intentions.upsert("web", "db", action="allow")
    async with notifying(consul) as inbox:
        assert "\n+ web => db: allow" in await inbox.has("intentions: 1 at the start")
        assert ": signs" in await inbox.has("roots: 1 at the start")
        await consul.intentions.upsert("web", "db", action="deny")
        await inbox.has("intentions: 1 changed", "\n~ web => db: allow -> web => db: deny")
        await consul.intentions.upsert("reports", "db", permissions=[READ_ONLY])
        added = await inbox.has("\n+ reports => db: 1 permissions")
        assert "web => db" not in added  # its modify_index moved, and nothing else
        await consul.intentions.delete("web", "db")
        removed = await inbox.has("\n- web => db: deny")
        assert "no token was sent: what is removed may only be hidden" in removed
        consul_agent.rotate_root()
        rotated = await inbox.has("roots: 2 changed")
        assert "does not sign" in rotated


@pytest.mark.consul_agent(acl=True)
async def test_notifier_whose_token_sees_less_says_so_beside_the_removal(consul: Consul, consul_faults: Faults) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with notifying(consul) as inbox:
        assert "hidden" not in await inbox.has("intentions: 1 at the start")
        consul_faults.hidden(path="/v1/connect/intentions")
        consul_faults.wake()
        await inbox.has("- web => db: allow", "the token may not see everything")


async def test_notifier_whose_message_cannot_be_sent_ends_with_the_error(consul: Consul) -> None:
    async def send(message: str) -> None:
        raise RuntimeError(message)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(PATIENCE):
            await recipes.notifier.notify(consul, send)
    assert caught.group_contains(RuntimeError, match="at the start")


# Programs of their own.


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[Process]:
    """Run a recipe as its docstring says."""
    script, *rest = arguments
    command = [sys.executable, "-W", "error", str(HERE / script), *rest]
    found = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}  # the package that is tested, wherever it is
    process = await asyncio.create_subprocess_exec(*command, env=found, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(2 * PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process, *parts: str) -> str:
    """Read on until a line has all these parts."""
    assert process.stdout is not None
    async for read in process.stdout:
        if all(part in read.decode() for part in parts):
            return read.decode()
    raise AssertionError(f"no line with {parts}")


async def test_notifier_on_sigterm_ends_quietly_and_tells_its_metrics(consul: Consul) -> None:
    async with program("notifier.py") as process:
        await line(process, "intentions: 0 at the start")
        await consul.intentions.upsert("web", "db", action="allow")
        await line(process, "+ web => db: allow")
        process.terminate()
        _, errors = await process.communicate()
        assert process.returncode == 0
        assert "(('delivered', '/v1/connect/intentions', 'synced'), 2)" in errors.decode().splitlines()
        assert "Traceback" not in errors.decode()


async def test_structured_logging_writes_the_fields_of_a_watch_as_json(
    consul: Consul, consul_agent: Agent, consul_faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE", "db")
    async with program("structured_logging.py") as process:
        synced = json.loads(await line(process, '"state": "synced"'))
        assert synced["logger"] == "aioconsulconnect.watch"
        assert (synced["level"], synced["address"], synced["error"]) == ("info", consul_agent.url, "")
        assert synced["query"].startswith("/v1/connect/intentions/match?")
        assert synced["timestamp"].endswith("Z")
        own = json.loads(await line(process, '"logger": "app"'))
        assert (own["event"], own["service"], own["first"], own["changes"]) == ("intentions changed", "db", True, 0)
        with consul_faults.no_leader():
            stale = json.loads(await line(process, '"state": "stale"'))
        assert (stale["level"], stale["error"]) == ("warning", "NoLeader")
        assert "synced -> stale" in stale["event"]
        process.terminate()
        out, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert all(json.loads(rest) for rest in out.splitlines())


# GitOps.


def entry(name: str, **sources: str) -> Mapping[str, object]:
    listed = [{"Name": source, "Action": action} for source, action in sources.items()]
    return {"Kind": "service-intentions", "Name": name, "Sources": listed}


def content(*entries: Mapping[str, object]) -> bytes:
    return json.dumps(entries).encode()


def stored(agent: Agent) -> dict[tuple[str, str], str]:
    return {(str(i["SourceName"]), str(i["DestinationName"])): str(i["Action"]) for i in agent.store.intentions}


async def test_gitops_run_makes_it_so_and_then_has_nothing_to_do(
    consul_agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    desired = content(entry("db", web="allow", batch="deny"), entry("api", web="allow"))
    assert await recipes.gitops.run(desired) == recipes.gitops.CHANGED
    assert capsys.readouterr().out.splitlines() == ["+ web => api: allow", "+ batch => db: deny", "+ web => db: allow"]
    assert stored(consul_agent) == {("web", "db"): "allow", ("batch", "db"): "deny", ("web", "api"): "allow"}
    assert await recipes.gitops.run(desired) == recipes.gitops.UNCHANGED
    assert capsys.readouterr().out == "nothing to do\n"


async def test_gitops_dry_run_prints_and_changes_nothing(
    consul: Consul, consul_agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    await consul.intentions.upsert("web", "db", action="deny")
    assert await recipes.gitops.run(content(entry("db", web="allow")), dry_run=True) == recipes.gitops.CHANGED
    assert capsys.readouterr().out == "~ web => db: deny -> allow\n"
    assert stored(consul_agent) == {("web", "db"): "deny"}


async def test_gitops_prune_alone_removes_other_destinations(consul: Consul, consul_agent: Agent) -> None:
    await consul.intentions.upsert("web", "old", action="allow")
    desired = content(entry("db", web="allow"))
    assert await recipes.gitops.run(desired) == recipes.gitops.CHANGED
    assert set(stored(consul_agent)) == {("web", "old"), ("web", "db")}
    assert await recipes.gitops.run(desired, prune=True) == recipes.gitops.CHANGED
    assert set(stored(consul_agent)) == {("web", "db")}


@pytest.mark.parametrize(
    ("desired", "complaint"),
    [
        (b"[]", "would remove every intention"),
        (b'[{"Kind": "service-defaults", "Name": "db"}]', "only service-intentions belong here, not service-defaults"),
        (b"[{", "no JSON array of config entries"),
        (
            b'[{"Kind": "service-intentions", "Name": "db", "Sources": [{"Name": "web", "Acton": "allow"}]}]',
            "entry 0 (service-intentions 'db'): Sources[0].Acton is no known field; did you mean Action?",
        ),
        (content(entry("db", web="alow")), "alow"),
        (content(entry("db")), "at least one source"),
    ],
)
async def test_gitops_with_a_wrong_file_fails_and_changes_nothing(
    desired: bytes, complaint: str, consul: Consul, consul_agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    await consul.intentions.upsert("web", "old", action="allow")
    assert await recipes.gitops.run(desired, prune=True) == recipes.gitops.FAILED
    assert complaint in capsys.readouterr().err
    assert set(stored(consul_agent)) == {("web", "old")}


async def test_gitops_whose_plan_consul_would_refuse_fails_before_it_writes(
    consul: Consul, consul_agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    l7 = {"Name": "web", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]}
    tcp = {"Kind": "service-intentions", "Name": "tcp", "Sources": [l7]}
    for dry_run in (True, False):
        assert (
            await recipes.gitops.run(content(entry("db", web="allow"), tcp), dry_run=dry_run) == recipes.gitops.FAILED
        )
        said = capsys.readouterr()
        assert "! tcp: permissions need the protocol http, http2 or grpc, and it has tcp" in said.out
        assert "nothing was written" in said.err
    assert stored(consul_agent) == {}


async def test_gitops_that_fails_midway_says_how_far_it_came(
    consul: Consul, consul_agent: Agent, consul_faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    await consul.intentions.upsert("web", "old", action="allow")
    consul_faults.denied(path="/v1/config/service-intentions/old")
    assert await recipes.gitops.run(content(entry("db", web="allow")), prune=True) == recipes.gitops.FAILED
    assert "1 of 2 changes of the plan were applied before" in capsys.readouterr().err
    assert set(stored(consul_agent)) == {("web", "db"), ("web", "old")}


@pytest.mark.consul_agent(acl=True)
async def test_gitops_with_a_token_that_sees_a_part_fails_unless_that_is_wanted(
    consul: Consul, consul_agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await consul.intentions.upsert("web", "theirs", action="allow")
    await consul.intentions.upsert("web", "old", action="allow")
    own = 'service_prefix "o" { policy = "read" intentions = "write" }'
    guarded = GuardedAgent(consul_agent.url, (1, 22), "box", consul_agent.management_token)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", await guarded.token(own))
    desired = content(entry("other", web="allow"))
    assert await recipes.gitops.run(desired, prune=True) == recipes.gitops.FAILED
    said = capsys.readouterr()
    assert "! entries to remove may be missing: Consul left out what the token may not read" in said.out
    assert "nothing was written" in said.err
    assert await recipes.gitops.run(desired, prune=True, partial=True) == recipes.gitops.CHANGED
    assert set(stored(consul_agent)) == {("web", "theirs"), ("web", "other")}
    assert await recipes.gitops.run(content(entry("theirs", web="deny"))) == recipes.gitops.FAILED
    assert "! theirs: the token may not read its intentions" in capsys.readouterr().out


async def test_gitops_without_a_right_fails(consul_faults: Faults, capsys: pytest.CaptureFixture[str]) -> None:
    consul_faults.denied()
    assert await recipes.gitops.run(content(entry("db", web="allow"))) == recipes.gitops.FAILED
    assert "403" in capsys.readouterr().err


async def test_gitops_command_ends_with_its_exit_code(consul: Consul, consul_agent: Agent, tmp_path: Path) -> None:
    await consul.intentions.upsert("web", "old", action="allow")
    file = tmp_path / "intentions.json"
    file.write_bytes(content(entry("db", web="allow")))
    async with program("gitops.py", str(file), "--prune") as process:
        out, errors = await process.communicate()
    assert (process.returncode, errors) == (3, b"")
    assert out.decode().splitlines() == ["+ web => db: allow", "- web => old: allow"]
    assert set(stored(consul_agent)) == {("web", "db")}


# Dialling.


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances are tried in the order of their ids."""
    monkeypatch.setattr(random, "sample", lambda found, count: list(found)[:count])


async def register(consul: Consul, port: int, *, number: int = 1, checks: Sequence[Check] = ()) -> None:
    await consul.agent.register("db", id=f"db-{number}", address="127.0.0.1", port=port, native=True, checks=checks)


@asynccontextmanager
async def serving(consul: Consul, folder: Path, name: str) -> AsyncIterator[int]:
    """A server with the certificate of a service, which tells whoever connects whom it takes him for; its port."""
    leaf, roots = await consul.agent.leaf(name), await consul.ca.roots()
    (folder / "leaf.pem").write_text(f"{leaf.private_key_pem}\n{leaf.cert_pem}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata="\n".join(root.root_cert for root in roots.roots))
    context.load_cert_chain(folder / "leaf.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peercert")["subjectAltName"][0][1].encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def greeting(dialler: recipes.dialling.Dialler) -> str:
    """Connect, and read what the server has to say."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await dialler.connect()
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
    return said.decode()


async def test_dialler_with_a_dead_instance_connects_to_the_next_as_itself(
    consul: Consul, consul_agent: Agent, tmp_path: Path, in_order: None
) -> None:
    async with serving(consul, tmp_path, "db") as port:
        await register(consul, closed_port(), number=1)
        await register(consul, port, number=2)
        async with recipes.dialling.dialler(consul, "web", "db") as dialler:
            assert [instance.service.id for instance in dialler.instances.current] == ["db-1", "db-2"]
            assert await greeting(dialler) == f"spiffe://{consul_agent.trust_domain}/ns/default/dc/dc1/svc/web"


async def test_dialler_that_meets_another_service_refuses_it(consul: Consul, tmp_path: Path) -> None:
    async with serving(consul, tmp_path, "mallory") as port:
        await register(consul, port)
        async with recipes.dialling.dialler(consul, "web", "db") as dialler:
            with pytest.raises(ConnectionError, match=r"db-1 at .*another service answers: spiffe://.*/svc/mallory"):
                await dialler.connect()


async def test_dialler_that_meets_another_mesh_refuses_it(consul: Consul, tmp_path: Path) -> None:
    async with Agent() as other, Consul(other.url) as stranger, serving(stranger, tmp_path, "db") as port:
        await register(consul, port)
        async with recipes.dialling.dialler(consul, "web", "db") as dialler:
            with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await dialler.connect()


async def test_dialler_without_a_healthy_instance_says_so(consul: Consul) -> None:
    await register(consul, closed_port(), checks=[Check(ttl=60)])  # critical until it reports
    async with recipes.dialling.dialler(consul, "web", "db") as dialler:
        with pytest.raises(ConnectionError, match="db: no healthy instance, the watch is synced"):
            await dialler.connect()


async def test_dialler_after_a_rotation_uses_the_new_certificate(
    consul: Consul, consul_agent: Agent, tmp_path: Path
) -> None:
    async with recipes.dialling.dialler(consul, "web", "db") as dialler:
        first = dialler.leaf.current
        consul_agent.rotate_root()
        await dialler.leaf.until(lambda leaf: leaf.serial_number != first.serial_number, PATIENCE)
        await dialler.roots.until(lambda roots: len(roots.roots) == 2, PATIENCE)
        async with serving(consul, tmp_path, "db") as port:
            await register(consul, port)
            await dialler.instances.until(lambda instances: len(instances) == 1, PATIENCE)
            assert (await greeting(dialler)).endswith("/svc/web")


async def test_dialler_while_consul_is_gone_dials_what_it_saw_last(
    consul: Consul, consul_agent: Agent, tmp_path: Path
) -> None:
    async with serving(consul, tmp_path, "db") as port:
        await register(consul, port)
        async with recipes.dialling.dialler(consul, "web", "db") as dialler:
            consul_agent.stop()
            await dialler.instances.wait_for_state("stale", timeout=PATIENCE)
            assert (await greeting(dialler)).endswith("/svc/web")


async def test_dialling_command_says_to_whom_it_connected(consul: Consul, tmp_path: Path) -> None:
    async with serving(consul, tmp_path, "db") as port:
        await register(consul, port)
        async with program("dialling.py", "web", "db") as process:
            out, errors = await process.communicate()
    assert (out.decode(), errors, process.returncode) == (f"connected to 127.0.0.1 {port}\n", b"", 0)

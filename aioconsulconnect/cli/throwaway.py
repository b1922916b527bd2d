"""Agents that run for the length of a demonstration: in this process, or a real one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from aioconsulconnect.errors import NotReady, SettingsError
from aioconsulconnect.testing.real_agent import RealAgent, find_binary

_START_SECONDS = 20.0


@asynccontextmanager
async def in_process() -> AsyncGenerator[tuple[str, str], None]:
    """
    Run an in-process agent; yield its URL and a description.

    Raises SettingsError where the extra `aioconsulconnect[testing]` is not installed.
    """
    with needs_testing("the in-process agent", "or give --address or --consul"):
        from aioconsulconnect.testing import Agent  # noqa: PLC0415 - its extra may not be there
    async with Agent() as agent:
        yield agent.url, f"an agent inside this process that answers as Consul {agent.version} does"


def new_key() -> str:
    """
    Return a new private key for a root, EC P-256, as PEM.

    Raises SettingsError where the extra `aioconsulconnect[testing]` is not installed.
    """
    with needs_testing("the rotation of a root", "so that it can make a key"):
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - its extra may not be there
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@contextmanager
def needs_testing(what: str, how: str) -> Generator[None, None, None]:
    """
    Say what to install where an import fails within the context.

    - `what`: what needs it, the beginning of the sentence.
    - `how`: the end of the sentence: what else may be done.

    Raises SettingsError for ImportError.
    """
    try:
        yield
    except ImportError as error:
        raise SettingsError(f"{what} needs pip install 'aioconsulconnect[testing]', {how}") from error


@asynccontextmanager
async def real(binary: str | None) -> AsyncGenerator[tuple[str, str], None]:
    """
    Run a real `consul agent -dev` on free ports; yield its URL and a description.

    `binary` is the path of the Consul binary; None for the first that is found. The agent is stopped at the end. Raises
    SettingsError where there is no usable binary, and NotReady if the agent is not ready within 20 seconds.
    """
    try:
        path = binary or find_binary()
    except FileNotFoundError as error:
        raise SettingsError(str(error)) from error
    try:
        agent = RealAgent(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except RuntimeError as error:
        raise NotReady(str(error)) from error
    try:
        agent.start()
        try:
            await agent.ready(_START_SECONDS)
        except (RuntimeError, TimeoutError) as error:
            raise NotReady(str(error).partition(":\n")[0]) from error
        yield agent.url, f"a throw-away agent of {path}"
    finally:
        agent.close()

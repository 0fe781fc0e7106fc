"""Settings with a change, one command on a host or the error that it ends in, and what the host's sshd says."""

import asyncio
import re

import pytest

from lab.keys import host_files
from lab.spec import NodeSpec
from sealring.errors import SealringError
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import SshSettings


def changed(settings: SshSettings, **values: object) -> SshSettings:
    return settings.model_copy(update=values)


async def refused(settings: SshSettings, address: str, script: str = "exit 0") -> SealringError:
    pool = HostPool(settings)
    try:
        async with pool.host(address) as host:
            with pytest.raises(SealringError) as caught:
                await host.run(script)
            return caught.value
    finally:
        await pool.close()


async def visit(pool: HostPool, address: str, script: str = "exit 0") -> str:
    """Lease a host for one command; its output."""
    async with pool.host(address) as host:
        return (await host.run(script)).stdout


def logins(node: NodeSpec) -> int:
    """How many logins a node's sshd has let in."""
    log = node.logs / "sshd.log"
    return len(re.findall(r"Accepted \S+ for ", log.read_text())) if log.exists() else 0


async def preauth_ended(node: NodeSpec, user: str, times: int) -> str:
    """sshd's log, once it tells that so many logins of a user were given up: of them nothing more will come."""
    ends = rf"(?:Disconnected from|Connection closed by) authenticating user {re.escape(user)} .*\[preauth\]"
    async with asyncio.timeout(60):
        while len(re.findall(ends, text := (node.logs / "sshd.log").read_text())) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return text


def overrule(node: NodeSpec, *lines: str) -> None:
    """Change a node's sshd configuration until the end of the test: of two lines sshd believes the first."""
    file = host_files(node).configuration
    file.write_text("".join(f"{line}\n" for line in lines) + file.read_text())

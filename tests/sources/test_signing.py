"""Logins with certificates that a real OpenBao's SSH engine signs, at a real sshd that trusts its authority."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from activities.rings import Rings
from lab import openbao, state
from lab.authority import write_file
from lab.hosts import HostOptions, configure_host, start_hosts, stop_hosts
from lab.keys import user_name
from lab.spec import SSH_PORT, LabSpec
from lab.tools import sshd
from sealring.errors import Actor, ErrorClass, SealringError
from sealring.hosts.ssh import Host, HostPool
from sealring.models.vault import VaultSettings
from tests.sources.conftest import Bao

pytestmark = pytest.mark.sshd

ROLE = "ssh-client/sign/deploy"


@pytest.fixture(scope="module")
def spec(bao: Bao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSpec]:
    """Three sshd that trust the vault's authority alone."""
    openbao.write(bao.server, "sys/mounts/ssh-client", {"type": "ssh"})
    made = openbao.write(bao.server, "ssh-client/config/ca", {"generate_signing_key": True, "key_type": "ed25519"})
    openbao.write(bao.server, "sys/policies/acl/signing", {"policy": openbao.signing_policy(ROLE)})
    spec = LabSpec(root=tmp_path_factory.mktemp("signing"), nodes=3, first=161)
    authority = spec.root / "vault_ca.pub"
    write_file(authority, made["data"]["public_key"].encode(), 0o644)
    for node in spec.ring:
        node.bin.mkdir(parents=True)
    start_hosts(spec, sshd())
    for node in spec.ring:
        configure_host(spec, node, HostOptions(user_ca=authority))
    yield spec
    stop_hosts(spec)
    openbao.delete(bao.server, "sys/mounts/ssh-client")


@dataclass(frozen=True)
class Signer:
    """The worker's side: a cluster file with a role, and the vault's side: the role."""

    bao: Bao
    spec: LabSpec
    folder: Path
    vault: VaultSettings

    def role(self, **options: Any) -> None:
        usual = {
            "key_type": "ca",
            "allow_user_certificates": True,
            "allowed_users": user_name(),
            "default_extensions": {"permit-port-forwarding": ""},
            "max_ttl": "2h",
        }
        openbao.write(self.bao.server, "ssh-client/roles/deploy", usual | options)

    @asynccontextmanager
    async def pool(self, **ssh: Any) -> AsyncIterator[HostPool]:
        """The pool of a worker that has this cluster file."""
        usual = {
            "port": SSH_PORT,
            "known_hosts": str(self.spec.ssh / "known_hosts"),
            "private_key": str(self.spec.ssh / "deploy"),
            "vault_role": ROLE,
        }
        file = {"name": "prod", "contact_points": [self.spec.ring[0].address], "ssh": usual | ssh}
        vault = {"vault": self.vault.model_dump(mode="json")}
        (self.folder / "prod.yaml").write_text(yaml.safe_dump(file | vault))
        rings = Rings(self.folder)
        yield rings.pool(rings.file("prod"))
        await rings.close()

    def serials(self) -> set[str]:
        """Of the certificates that were shown to the nodes; sshd writes them to its log at a login."""
        logs = "".join(log.read_text() for node in self.spec.ring for log in node.logs.glob("sshd.log"))
        return {line.split("(serial ")[1].split(")")[0] for line in logs.splitlines() if "Accepted publickey" in line}


@pytest.fixture
def signer(bao: Bao, spec: LabSpec, tmp_path: Path) -> Signer:
    write_file(tmp_path / "token", bao.token(policies=["signing"]).encode(), 0o600)
    vault = VaultSettings(address=bao.server.address, ca=bao.server.ca, token_file=tmp_path / "token")
    for node in spec.ring:
        (node.logs / "sshd.log").unlink(missing_ok=True)
    made = Signer(bao, spec, tmp_path, vault)
    made.role()
    return made


async def words(host: Host) -> str:
    return (await host.run("echo in")).stdout


async def refused(pool: HostPool, address: str, code: str, kind: ErrorClass = ErrorClass.STOP) -> SealringError:
    async with pool.host(address) as host:
        with pytest.raises(SealringError) as caught:
            await host.run("exit 0")
    assert (caught.value.code, caught.value.error_class) == (code, kind), caught.value
    return caught.value


@pytest.mark.criterion("A2", "V1")
async def test_all_hosts_are_entered_with_one_certificate_that_is_on_no_disk(signer: Signer) -> None:
    before = {file for file in signer.folder.rglob("*") if file.is_file()} | {signer.folder / "prod.yaml"}
    async with signer.pool() as pool:
        first, second, _ = (node.address for node in signer.spec.ring)
        async with pool.host(first) as one, pool.host(second) as other:
            assert list(await asyncio.gather(words(one), words(other))) == ["in\n", "in\n"]
            reader, writer = await one.forward(second, SSH_PORT)  # the role's extension lets it
            assert (await reader.read(4)) == b"SSH-"
            writer.close()
    assert len(signer.serials()) == 1
    assert {file for file in signer.folder.rglob("*") if file.is_file()} == before


@pytest.mark.criterion("A2")
async def test_a_certificate_is_replaced_before_it_ends(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = time.time()
    async with signer.pool(vault_ttl=180) as pool:
        for node, later, certificates in zip(signer.spec.ring, (0, 100, 175), (1, 1, 2), strict=True):
            clock = SimpleNamespace(time=lambda later=later: begin + later, strftime=time.strftime, gmtime=time.gmtime)
            monkeypatch.setattr("sealring.hosts.certificates.time", clock)
            async with pool.host(node.address) as host:
                assert await words(host) == "in\n"
            assert len(signer.serials()) == certificates, f"after {later} of 180 s"


@pytest.mark.criterion("A2")
async def test_a_role_without_the_login_name_signs_nothing(signer: Signer) -> None:
    signer.role(allowed_users="somebody")
    async with signer.pool() as pool:
        address = signer.spec.ring[0].address
        error = await refused(pool, address, "vault.signing-refused")
        assert error.actor is Actor.PKI_ADMIN
        assert user_name() in error.message
        assert "ssh-client/roles/deploy" in error.remedy
        signer.role()
        async with pool.host(address) as host:
            assert await words(host) == "in\n", "a mended role is seen at the next login"


async def test_a_life_that_the_role_does_not_give_is_refused(signer: Signer) -> None:
    async with signer.pool(vault_ttl="PT3H") as pool:
        error = await refused(pool, signer.spec.ring[0].address, "vault.signing-refused")
        assert "ssh.vault_ttl" in error.remedy


@pytest.mark.criterion("Q6")
async def test_a_missing_right_names_the_rule_to_add(signer: Signer) -> None:
    async with signer.pool(vault_role="ssh-client/sign/other") as pool:
        error = await refused(pool, signer.spec.ring[0].address, "vault.denied")
        assert 'path "ssh-client/sign/other" { capabilities = ["update"] }' in error.remedy


async def test_a_login_waits_for_a_vault_that_is_down(signer: Signer) -> None:
    server, address = signer.bao.server, signer.spec.ring[0].address
    async with signer.pool() as pool:
        os.kill(state.alive(server.root)[openbao.ROLE], signal.SIGKILL)
        openbao.stop(server)  # until it is gone
        try:
            await refused(pool, address, "vault.unreachable", ErrorClass.RETRY)
        finally:
            openbao.launch(server)
            openbao.unseal(server)
        async with pool.host(address) as host:
            assert await words(host) == "in\n"

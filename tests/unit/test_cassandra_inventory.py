"""The inventory on a folder of this computer: the real scripts in a real /bin/sh, with a stand-in for systemctl."""

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealring.cassandra.host_look import Known, config_candidates
from sealring.cassandra.inventory import Inspection, inventory, restart_because
from sealring.cassandra.system_log import LogMark, mark_log, read_log
from sealring.errors import SealringError
from sealring.hosts.shell import Completed, Feed, assemble
from sealring.models.cluster import ClusterFile, NodeRef

NODE = NodeRef(host_id="h", address="127.0.0.1", internode_address="127.0.0.1", datacenter="dc1", rack="r1")
YAML = """
listen_address: 127.0.0.1
server_encryption_options:
  internode_encryption: all
  keystore: {keystore}
  keystore_password: secret
  truststore: {truststore}
  truststore_password: secret
"""


@dataclass
class LocalShell:
    """A host that is this computer."""

    path: Path
    address: str = "127.0.0.1"
    runs: int = 0

    async def run(
        self,
        script: str,
        *,
        variables: Mapping[str, str] = {},
        arguments: Sequence[str] = (),
        secret_input: bytes | Feed | None = None,
        timeout: float | None = None,
        become: str = "",
    ) -> Completed:
        self.runs += 1
        done = subprocess.run(  # noqa: ASYNC221 - a test may block
            ["/bin/sh", "-s"],
            input=assemble(script, variables, arguments),
            env={"PATH": f"{self.path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr, 0.0)


@dataclass
class Computer:
    """A node's home, and its service."""

    home: Path
    shell: LocalShell

    @property
    def config(self) -> Path:
        return self.home / "conf/cassandra.yaml"

    def service(self, pid: int, state: str = "active") -> None:
        systemctl = self.home / "bin/systemctl"
        shown = f"LoadState=loaded\nActiveState={state}\nSubState=running\nMainPID={pid}\nNRestarts=0\n"
        unit = f"ExecStart=/usr/bin/java -Dcassandra.config={self.config.as_uri()} -Dcassandra.logdir={self.home}/logs"
        systemctl.write_text(f"#!/bin/sh\ncase $1 in cat) echo '{unit}' ;; *) printf '%s' '{shown}' ;; esac\n")
        systemctl.chmod(0o755)

    async def inspect(self, yaml: str = YAML, **paths: str) -> Inspection:
        self.config.write_text(yaml.format(**{"keystore": "tls/keystore", "truststore": "tls/truststore", **paths}))
        cluster = ClusterFile(name="lab", contact_points=("127.0.0.1",))
        return await inventory(self.shell, cluster, NODE)


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    for folder in ("bin", "conf", "logs", "tls"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tls/keystore").write_bytes(bytes.fromhex("3082010a"))
    (tmp_path / "tls/truststore").write_bytes(bytes.fromhex("feedfeed"))
    found = Computer(tmp_path, LocalShell(tmp_path / "bin"))
    found.service(0, "inactive")
    return found


async def test_a_service_that_does_not_run_is_found_through_its_unit(computer: Computer) -> None:
    found = await computer.inspect()
    inventory_ = found.inventory
    assert inventory_.config_path == str(computer.config)
    assert inventory_.pid == 0
    assert inventory_.log_dir == str(computer.home / "logs")
    assert inventory_.layout == "in-place"
    assert inventory_.tls_dir == str(computer.home / "tls"), "relative paths count from the home above conf/"
    assert inventory_.state_dir == f"{computer.home}/tls/.sealring"
    assert [store.format for store in inventory_.stores] == ["PKCS12", "JKS"], "by content, not as declared"
    assert found.passwords.of(f"{computer.home}/tls/keystore") == "secret"
    assert inventory_.service_user == computer.home.owner()
    assert restart_because("5.0.9", found) == ("Cassandra does not run",)
    assert "secret" not in repr(found)


async def test_a_process_that_ends_between_two_looks_is_found_through_its_unit(computer: Computer) -> None:
    with subprocess.Popen(["true"]) as ended:  # noqa: ASYNC220 - one that is not waited for
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it has ended, its pid is still there
        computer.service(ended.pid, "activating")
        found = (await computer.inspect()).inventory
    assert found.config_path == str(computer.config)
    assert found.log_dir == str(computer.home / "logs")


async def test_a_running_service_and_a_change_after_its_start(computer: Computer) -> None:
    running = await asyncio.create_subprocess_exec("sleep", "60", cwd=computer.home / "conf")
    try:
        computer.service(running.pid)
        written = {"service": {"config": str(computer.config)}, "cql": {"port": 1, "connect_timeout": 1}}
        cluster = ClusterFile.model_validate({"name": "lab", "contact_points": ["127.0.0.1"], **written})
        text = YAML.format(keystore="../tls/keystore", truststore="../tls/truststore")
        computer.config.write_text(text)
        begun = time.time()
        os.utime(computer.config, (begun - 60, begun - 60))
        calm = await inventory(computer.shell, cluster, NODE)
        os.utime(computer.config, (begun + 60, begun + 60))
        changed = await inventory(computer.shell, cluster, NODE)
    finally:
        running.kill()
        await running.wait()
    assert calm.inventory.pid == running.pid
    assert calm.inventory.tls_dir == f"{computer.home}/tls", "relative paths count from the process's directory"
    assert calm.inventory.started_at.isdigit()
    assert calm.inventory.drift == ()
    assert "was changed after the process started" in changed.inventory.drift[0]
    assert restart_because("5.0.9", calm) == ()


async def test_a_second_look_is_one_script_as_long_as_process_and_configuration_are_the_same(
    computer: Computer,
) -> None:
    first, second = [await asyncio.create_subprocess_exec("sleep", "60", cwd=computer.home / "conf") for _ in range(2)]
    cluster = ClusterFile.model_validate(
        {"name": "lab", "contact_points": ["127.0.0.1"], "service": {"config": str(computer.config)}}
    )

    async def look(known: Known | None) -> tuple[Inspection, int]:
        before = computer.shell.runs
        found = await inventory(computer.shell, cluster, NODE, known=known)
        return found, computer.shell.runs - before

    try:
        computer.service(first.pid)
        computer.config.write_text(YAML.format(keystore="../tls/keystore", truststore="../tls/truststore"))
        whole, scripts = await look(None)
        assert scripts == 4
        found, scripts = await look(whole.known)
        assert (found.inventory, found.known, scripts) == (whole.inventory, whole.known, 1)
        (computer.home / "tls/keystore").write_bytes(b"----")
        (computer.home / "tls/truststore").unlink()
        found, scripts = await look(whole.known)
        assert scripts == 1
        assert found.inventory.stores[0].format == "PEM", "the disk is read anew"
        assert [Path(path).name for path in found.missing] == ["truststore"]
        text = computer.config.read_text()
        stat = computer.config.stat()
        computer.config.write_text(text.replace("secret", "change"))
        os.utime(computer.config, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        found, scripts = await look(whole.known)
        assert scripts == 5, "same size, same mtime: the time of the inode's change gives it away"
        assert found.passwords.of(f"{computer.home}/tls/keystore") == "change"
        computer.service(second.pid)
        assert (await look(found.known))[0].inventory.pid == second.pid
    finally:
        for process in (first, second):
            process.kill()
            await process.wait()


async def test_a_systemctl_that_fails_tells_nothing(computer: Computer) -> None:
    (computer.home / "bin/systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    with pytest.raises(SealringError, match="Failed to connect to bus"):
        await computer.inspect()


async def test_a_doubled_slash_does_not_make_another_folder_of_a_slot(computer: Computer) -> None:
    (computer.home / "tls/current").symlink_to("generations/one")
    home = computer.home
    found = await computer.inspect(keystore=f"{home}/tls//current//k", truststore=f"{home}/tls/current/t")
    assert (found.inventory.layout, found.inventory.tls_dir) == ("slots", f"{home}/tls")


async def test_slots_are_recognised_by_the_current_link(computer: Computer) -> None:
    (computer.home / "tls/generations/one").mkdir(parents=True)
    (computer.home / "tls/current").symlink_to("generations/one")
    found = await computer.inspect(
        keystore="tls/current/keystore", truststore=f"{computer.home}/tls/current/truststore"
    )
    assert found.inventory.layout == "slots"
    assert found.inventory.tls_dir == str(computer.home / "tls")
    assert found.inventory.stores[0].path == f"{computer.home}/tls/current/keystore", "the link is not resolved"
    assert found.missing == tuple(f"{computer.home}/tls/current/{name}" for name in ("keystore", "truststore"))
    assert any("is not watched" in reason for reason in restart_because("5.0.9", found))
    with pytest.raises(SealringError) as caught:
        await computer.inspect(keystore="tls/current/keystore")
    assert caught.value.code == "config.mixed-layout"


async def test_no_configuration_names_all_places(computer: Computer) -> None:
    with pytest.raises(SealringError) as caught:
        await inventory(computer.shell, ClusterFile(name="lab", contact_points=("127.0.0.1",)), NODE)
    assert caught.value.code == "config.not-found"
    assert str(computer.config) in caught.value.message


def test_where_cassandra_yaml_may_be() -> None:
    assert config_candidates((), "/given.yaml") == ("/given.yaml",)
    assert config_candidates(("java", "-Dcassandra.config=file:///a/b.yaml"), None) == ("/a/b.yaml",)
    assert config_candidates(("-Dcassandra.config=file:/a/b.yaml",), None) == ("/a/b.yaml",)
    from_class_path = config_candidates(("java", "-cp", "/etc/c/conf:/usr/share/c/lib/*:/x/y.jar", "Daemon"), None)
    assert from_class_path[0] == "/etc/c/conf/cassandra.yaml"
    assert not any("y.jar" in path or "*" in path for path in from_class_path)
    assert config_candidates(("-Dcassandra.config=own.yaml", "-cp", "/etc/c"), None)[0] == "/etc/c/own.yaml"
    assert "/etc/cassandra/cassandra.yaml" in config_candidates((), None)


async def test_why_a_reload_cannot_be_enough(computer: Computer) -> None:
    legacy = YAML.replace(
        "internode_encryption: all", "internode_encryption: all\n  enable_legacy_ssl_storage_port: true"
    )
    found = await computer.inspect(legacy)
    assert any("CASSANDRA-18681" in reason for reason in restart_because("4.0.18", found))
    assert not any("CASSANDRA-18681" in reason for reason in restart_because("4.1.4", found))
    assert any("4.0 is the first" in reason for reason in restart_because("3.11.16", found))


async def test_only_news_are_read_from_the_log_and_a_rolled_log_is_all_news(computer: Computer) -> None:
    logs, log = str(computer.home / "logs"), computer.home / "logs/system.log"
    assert await mark_log(computer.shell, logs) == LogMark()
    log.write_text("old\n")
    mark = await mark_log(computer.shell, logs)
    assert await read_log(computer.shell, logs, mark) == ""
    with log.open("a") as file:
        file.write("new\n")
    assert await read_log(computer.shell, logs, mark) == "new\n"
    log.rename(computer.home / "logs/system.log.1")
    assert await read_log(computer.shell, logs, mark) == ""
    log.write_text("x\n")
    assert await read_log(computer.shell, logs, mark) == "x\n"

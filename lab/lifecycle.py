"""The whole lab up and down: ring, SSH servers, engine. The CLI, the demo and the tests' fixtures call this."""

from lab import engine as engines
from lab import hosts, preflight, ring, state, tools
from lab.jars import Progress
from lab.spec import LabSpec


def up(spec: LabSpec, progress: Progress = tools.silent, *, engine: bool = True) -> None:
    """Bring up what does not run yet. When nothing ran before and it fails, nothing is left running.

    Raises:
        SealringError: lab.other-spec, lab.port-busy, lab.memory, lab.missing-tool, lab.not-up, ...
    """
    state.check_spec(spec)
    running = state.alive(spec.root)
    idle = [node for node in spec.ring if ring.role(spec, node) not in running]
    ports = [port for node in idle for port in preflight.node_ports(spec, node)]
    ports += preflight.ssh_ports(spec) if hosts.ROLE not in running else []
    ports += preflight.engine_ports(spec) if engine and engines.ROLE not in running else []
    preflight.check_ports(ports)
    preflight.check_memory(len(idle), preflight.node_bytes(spec))
    try:
        ring.prepare(spec, progress)
        if idle:
            progress(f"starting {len(idle)} nodes of {spec.software}")
        ring.start_ring(spec, progress)
        if hosts.ROLE not in running:
            hosts.start_hosts(spec, tools.sshd(progress))
            progress("the nodes' SSH servers answer")
        if not engine and not spec.cluster_file.exists():
            engines.configure_engine(spec)  # for workers that somebody else starts
        if engine and engines.ROLE not in running:
            engines.start_engine(spec)
            progress("sealring is up: Temporal server with its UI, codec server, workers")
    except BaseException:  # Ctrl-C too
        if not running:
            down(spec)
        raise


def down(spec: LabSpec) -> None:
    """Take everything of the lab down; returns when nothing of it runs, whatever crashed before."""
    others = [role for role in state.alive(spec.root) if role not in {ring.role(spec, node) for node in spec.ring}]
    state.stop_all(spec.root, others, ring.STOP_TIMEOUT_S)
    ring.stop_ring(spec)

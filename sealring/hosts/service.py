"""The service that runs Cassandra, as systemd tells it. Its word is no proof: a unit may be active and crash-loop."""

from dataclasses import dataclass

from sealring.hosts.privileges import Sudo
from sealring.hosts.shell import Become, Shell, number, one, run_script


@dataclass(frozen=True)
class ServiceStatus:
    """A unit and its process.

    Args:
        active: whether Cassandra's process runs; an init script's unit is "active" without one.
        state: systemd's ActiveState and SubState: `active/running`, `activating/auto-restart`.
        pid: the process; 0 when there is none.
        restarts: how often systemd restarted it by itself (NRestarts).
        started_ticks: start of the process, clock ticks since boot (field 22 of /proc/<pid>/stat, proc(5)).
        user: whom the process runs as, seen on the process; empty when there is none.
        group: its group.
    """

    active: bool
    state: str
    pid: int
    restarts: int
    started_ticks: str
    user: str
    group: str


async def status(shell: Shell, service: str) -> ServiceStatus:
    """What the unit and its process are now.

    Raises:
        SealringError: `node.service-missing`, `node.tool-missing`, and all of `run_script`.
    """
    return service_status(await run_script(shell, "status", variables={"unit": service}, timeout=60), shell)


def service_status(pairs: list[tuple[str, str]], shell: Shell) -> ServiceStatus:
    """What the lines of status.sh say."""
    pid, restarts = one(pairs, "pid"), one(pairs, "restarts")
    return ServiceStatus(
        active=bool(pid),
        state=f"{one(pairs, 'active')}/{one(pairs, 'sub')}",
        pid=number(pid or "0", "MainPID", shell),
        restarts=number(restarts or "0", "NRestarts", shell),
        started_ticks=one(pairs, "started"),
        user=one(pairs, "user"),
        group=one(pairs, "group"),
    )


async def restart(
    shell: Shell, service: str, *, become: Become = "", sudo: Sudo = "auto", timeout: float | None = None
) -> None:
    """Restart the unit, or start it when it does not run: one job on the node, so that a kill leaves nothing stopped.

    Args:
        shell: the host.
        service: the systemd unit.
        become: `root` when the engine acts as root on this node anyway; else empty: systemctl is asked as the login
            user, and by `sudo -n` when that is refused.
        sudo: `never`: then a refusal is final.
        timeout: seconds; default: ssh.command_timeout.

    Raises:
        SealringError: `node.service-refused`, `node.service-missing`, `node.service-failed`, `node.tool-missing`, and
            all of `run_script`.
    """
    variables = {"unit": service, "sudo": sudo}
    # Only root helps with systemd; the service's own user is no more than the login user.
    chosen = become if become == "root" else ""
    await run_script(shell, "service", variables=variables, become=chosen, timeout=timeout)

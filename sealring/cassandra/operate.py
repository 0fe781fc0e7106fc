"""Making a node use what is on its disk: reload, drain, restart. Whether it worked is for `probe` and `back` to say."""

import re
from time import monotonic

from sealring.cassandra.nodetool import nodetool
from sealring.cassandra.system_log import LogMark, mark_log, read_log, reload_outcome
from sealring.errors import Actor, SealringError
from sealring.hosts import service
from sealring.hosts.shell import Become, Shell
from sealring.models.cluster import ClusterFile
from sealring.models.evidence import Finding, Verdict
from sealring.models.node import NodeInventory
from sealring.models.rollout import Applied

DRAIN_GRACE_SECONDS = 30.0  # for the link, beyond what the command itself may take

# GNU timeout ends nodetool on the host too; the node drains on, and is stopped next.
DRAIN = r"""
if command -v timeout > /dev/null; then set -- timeout "$seconds" "$nodetool"; else set -- "$nodetool"; fi
code=0
"$@" drain 2>&1 || code=$?
printf '\n%s' "$code"
"""
_TIMED_OUT = 124  # timeout(1)


async def reload_tls(shell: Shell, cluster: ClusterFile, inventory: NodeInventory, *, become: Become = "") -> Applied:
    """Have the node read its stores again (`nodetool reloadssl`).

    The finding `apply.reload` is evidence, not proof: since 4.1.4 the command ends with 0 whatever it found, and a node
    whose context was not in use yet logs nothing either (measured, 5.0). Before 4.1.4 it does nothing when no file's
    modification time has changed, and fails when a store cannot be loaded. New handshakes are the proof.

    Args:
        shell: the node's host.
        cluster: names nodetool.
        inventory: where the log is.
        become: the user who may run nodetool and read the log.

    Raises:
        SealringError: nodetool.unreachable (retry), nodetool.missing (stop), and those of the host.
    """
    mark = await mark_log(shell, inventory.log_dir, become=become)
    try:
        await nodetool(shell, cluster.service, "reloadssl", become=become)
    except SealringError as error:
        if error.code != "nodetool.failed":
            raise
        return Applied(findings=(_reload(shell, Verdict.FAIL, error.message),))
    outcome = reload_outcome(await read_log(shell, inventory.log_dir, mark, become=become))
    verdict, message = {
        "updated": (Verdict.PASS, "the log says that the certificates have been updated"),
        "failed": (Verdict.FAIL, "the log says that the stores could not be reloaded; the old ones stay in use"),
        "silent": (Verdict.INCONCLUSIVE, "nodetool reloadssl ended with 0 and the log says nothing"),
    }[outcome]
    return Applied(findings=(_reload(shell, verdict, message),))


async def drain(shell: Shell, cluster: ClusterFile, *, become: Become = "") -> Finding:
    """Stop taking requests and flush (`nodetool drain`), for service.drain_timeout at most.

    Never raises for a drain that fails or takes too long: the stop that follows flushes too, only less politely.
    Cassandra's own limit is five minutes, and on a node that is still starting it may never end (handbook, 1.5).

    Raises:
        SealringError: only when the host cannot be reached.
    """
    seconds = cluster.service.drain_timeout.total_seconds()
    variables = {"nodetool": cluster.service.nodetool, "seconds": f"{seconds:.0f}"}
    begin = monotonic()
    try:
        done = await shell.run(DRAIN, variables=variables, timeout=seconds + DRAIN_GRACE_SECONDS, become=become)
    except SealringError as error:
        if error.code != "ssh.command-timeout":
            raise
        return _drain(shell, Verdict.WARN, f"not done within {seconds:.0f} s; stopping it anyway")
    output, _, code = done.stdout.rpartition("\n")
    if code == "0":
        return _drain(shell, Verdict.PASS, f"drained in {monotonic() - begin:.1f} s")
    if code == str(_TIMED_OUT):
        return _drain(shell, Verdict.WARN, f"not done within {seconds:.0f} s; stopping it anyway")
    words = " ".join(re.split(r"\s+", output.strip()))[:200] or done.stderr.strip()[:200]
    return _drain(shell, Verdict.WARN, f"nodetool drain failed, stopping it anyway: {words}")


async def restart(shell: Shell, cluster: ClusterFile, inventory: NodeInventory, *, become: Become = "") -> LogMark:
    """Restart the service; returns when it was started, which proves nothing yet (`back.wait_back`).

    Not idempotent: whether a restart is still due is decided by the caller, from the start time of the process.

    Args:
        shell: the node's host.
        cluster: names the service.
        inventory: where the log is.
        become: the user who may read the log.

    Returns:
        The mark after which the log tells of the new start.

    Raises:
        SealringError: those of the host and of its service manager.
    """
    mark = await mark_log(shell, inventory.log_dir, become=become)
    await service.restart(shell, cluster.service.name, become=become, sudo=cluster.service.sudo)
    return mark


def _reload(shell: Shell, verdict: Verdict, message: str) -> Finding:
    remedy = "" if verdict is Verdict.PASS else "see system.log; the handshakes that follow decide"
    return _finding("apply.reload", shell, verdict, message, remedy)


def _drain(shell: Shell, verdict: Verdict, message: str) -> Finding:
    remedy = "" if verdict is Verdict.PASS else "raise service.drain_timeout if the node needs longer"
    return _finding("apply.drain", shell, verdict, message, remedy)


def _finding(check: str, shell: Shell, verdict: Verdict, message: str, remedy: str) -> Finding:
    actor = Actor.NOBODY if verdict is Verdict.PASS else Actor.CASSANDRA_ADMIN
    return Finding(check=check, verdict=verdict, message=message, remedy=remedy, actor=actor, node=shell.address)

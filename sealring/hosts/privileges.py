"""Who we must be on a node: the smallest user that can replace the stores and keep their owner, and its proof.

Order: the login user, the user that Cassandra runs as, root. `sudo -n` always, and only for the last two.
"""

import base64
import fnmatch
import re
from typing import Literal

from sealring.errors import Actor, SealringError
from sealring.hosts.manifest import Place
from sealring.hosts.refusals import refusal
from sealring.hosts.shell import Become, Shell, one, run_script
from sealring.models.evidence import Finding, Verdict

Sudo = Literal["auto", "never"]


async def choose_become(shell: Shell, place: Place, *, login: str, sudo: Sudo) -> Become:
    """The smallest user that can write the folders and keep owner and group of the stores.

    Args:
        shell: the host.
        place: the folders and stores; its own `become` is not looked at.
        login: the login user.
        sudo: `never`: only the login user is considered.

    Raises:
        SealringError: `node.privileges` with what stands in the way of each user, and the sudoers line that would
            help; and all of `run_script` but `node.sudo-refused`.
    """
    candidates = [""]
    if sudo == "auto":
        candidates += [user for user in dict.fromkeys((place.user, "root")) if user != login]
    found: list[str] = []
    for become in candidates:
        obstacles = await _obstacles(shell, place, become)
        if not obstacles:
            return become
        found.append(f"{become or login}: {', '.join(obstacles)}")
    owner, root = (" ".join(sudoers_lines(login, user)) for user in (place.user, "root"))
    remedy = f"where root owns the stores or their folders, add to sudoers: {root}"
    if owner and place.user != "root":
        remedy = f"where {place.user} owns stores and folders, add to sudoers: {owner}; {remedy}"
    raise refusal("node.privileges", "; ".join(found), shell.address, remedy=remedy)


async def _obstacles(shell: Shell, place: Place, become: Become) -> tuple[str, ...]:
    variables = {
        "tls_dir": place.tls_dir,
        "state_dir": place.state_dir,
        "layout": place.layout,
        "service_user": place.user,
    }
    try:
        pairs = await run_script(
            shell, "access", variables=variables, arguments=tuple(place.roles), become=become, timeout=60
        )
    except SealringError as error:
        if error.code != "node.sudo-refused":
            raise
        return (error.message,)
    return tuple(dict.fromkeys(value for key, value in pairs if key == "obstacle"))


def sudoers_lines(login: str, become: Become, service: str = "") -> tuple[str, ...]:
    """The exact sudoers lines for what we run: nothing more is ever run by sudo.

    Args:
        login: the login user.
        become: the user that writes; no line is needed when it is empty or the login user.
        service: the systemd unit, when the login user shall restart it; root's shell needs no line for it.
    """
    lines: list[str] = []
    if become and become != login:
        lines.append(f"{login} ALL=({become}) NOPASSWD: /bin/sh -s")
    if service and login != "root" and become != "root":
        lines.append(f"{login} ALL=(root) NOPASSWD: {_restart(service)}")
    return tuple(lines)


def _restart(service: str) -> str:
    return f"/usr/bin/systemctl --no-ask-password restart {service}"


def allows_without_password(listing: str, command: str) -> bool:
    """Whether `sudo -ll` says that root's `command` needs no password. Pure.

    `sudo -l COMMAND` cannot be asked: it succeeds for commands that need one. The last entry that matches decides
    (sudoers(5)); of its patterns only ALL and shell wildcards are understood, anything else counts as no.
    """
    defaults, *entries = listing.split("Sudoers entry:")
    free = False
    for entry in entries:
        fields = dict(re.findall(r"^\s+(RunAsUsers|Options): (.*)$", entry, re.MULTILINE))
        users = re.split(r",\s*", fields.get("RunAsUsers", "root"))
        patterns = re.findall(r"^\t(.*)$", entry, re.MULTILINE)
        matched = any(pattern == "ALL" or fnmatch.fnmatchcase(command, pattern) for pattern in patterns)
        if matched and ("root" in users or "ALL" in users):
            options = re.split(r",\s*", fields.get("Options", ""))
            free = "!authenticate" in options or ("authenticate" not in options and "!authenticate" in defaults)
    return free


async def prove(shell: Shell, become: Become, *, login: str, service: str = "") -> Finding:
    """Whether sudo really allows what the rollout will need: `node.sudo`. Nothing is changed.

    The shell is proven by running it, the service's commands by what sudo lists.

    Args:
        shell: the host.
        become: the user that writes.
        login: the login user.
        service: the systemd unit; empty when no restart is planned.

    Raises:
        SealringError: all of `run_script` but `node.sudo-refused` and a missing sudo.
    """
    lines = sudoers_lines(login, become, service)
    if not lines:
        return Finding(check="node.sudo", verdict=Verdict.PASS, message="no sudo is needed", node=shell.address)
    missing: list[str] = []
    try:
        if become and become != login:
            await shell.run("exit 0", become=become, timeout=60)
        if service and become != "root":
            pairs = await run_script(shell, "may", timeout=60)
            listing = base64.b64decode(one(pairs, "listing")).decode(errors="replace")
            if not allows_without_password(listing, _restart(service)):
                missing.append(_restart(service))
    except SealringError as error:
        if error.code not in ("node.sudo-refused", "node.tool-missing"):
            raise
        missing.append(error.message)
    if not missing:
        return Finding(
            check="node.sudo",
            verdict=Verdict.PASS,
            message=f"sudo allows what is needed: {' and '.join(lines)}",
            node=shell.address,
        )
    return Finding(
        check="node.sudo",
        verdict=Verdict.FAIL,
        message=f"not allowed: {'; '.join(missing)}",
        remedy="add to sudoers (visudo -f /etc/sudoers.d/sealring): " + " and ".join(lines),
        actor=Actor.NODE_ADMIN,
        node=shell.address,
    )

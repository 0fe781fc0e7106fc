"""The codes that scripts on a node refuse with, and what each means for the engine and for people."""

from dataclasses import dataclass

from sealring.errors import Actor, ErrorClass, SealringError


@dataclass(frozen=True)
class _Meaning:
    error_class: ErrorClass
    actor: Actor
    message: str  # {} is what the script said
    remedy: str


_RETRY, _SKIP, _ASK, _STOP = ErrorClass.RETRY, ErrorClass.SKIP, ErrorClass.ASK, ErrorClass.STOP
_OPERATOR, _ADMIN, _NOBODY = Actor.OPERATOR, Actor.NODE_ADMIN, Actor.NOBODY

MEANINGS = {
    "node.busy": _Meaning(
        _SKIP,
        _OPERATOR,
        "rollout {} has begun a change on this node and not ended it",
        "let that rollout end, or take its node back with `sealring rollback`",
    ),
    "node.locked": _Meaning(_RETRY, _NOBODY, "another script of ours is at work on this node ({})", ""),
    "node.tool-missing": _Meaning(_STOP, _ADMIN, "{} is not installed on this node", "install it"),
    "node.layout-unsupported": _Meaning(
        _STOP,
        _ADMIN,
        "{} is a file or a folder; it must be absent or a symbolic link",
        "move it away, or make it a symbolic link to the folder that holds the stores",
    ),
    "node.not-backed-up": _Meaning(
        _STOP,
        _OPERATOR,
        "{} does not point to a generation: what is in force was not kept",
        "prepare the node again (start the rollout again)",
    ),
    "node.generation-missing": _Meaning(
        _STOP, _OPERATOR, "generation {} is not on this node", "start the rollout again: preparation writes it"
    ),
    "node.generation-damaged": _Meaning(
        _STOP,
        _OPERATOR,
        "the files of generation {} are not those that were written: a digest differs",
        "start the rollout again: preparation writes the generation anew",
    ),
    "node.generation-incomplete": _Meaning(
        _STOP,
        _OPERATOR,
        "{}: the generation on this node has no such file, though cassandra.yaml names a store of that name",
        "deliver new material: generations from before the change of cassandra.yaml cannot be used",
    ),
    "node.changed-meanwhile": _Meaning(
        _RETRY, _NOBODY, "the store files changed between reading and copying them (generation {})", ""
    ),
    "node.transfer-damaged": _Meaning(
        _RETRY, _NOBODY, "what is on the node's disk is not what was sent ({}); nothing in force was changed", ""
    ),
    "node.drifted": _Meaning(
        _ASK,
        _OPERATOR,
        "{} was changed by somebody else: it is neither what was backed up nor what was written",
        "find out who writes it (Puppet, Ansible, a person), stop that, then start the rollout again",
    ),
    "node.attributes": _Meaning(
        _STOP,
        _ADMIN,
        "owner, mode, ACL or label of {} cannot be given to the file that would replace it",
        "let the engine act as the owner of that file (see the sudoers lines of the preflight)",
    ),
    "node.permission": _Meaning(
        _STOP, _ADMIN, "permission denied: {}", "allow it, or add the sudoers lines that the preflight prints"
    ),
    "node.read-only": _Meaning(_STOP, _ADMIN, "the file system is mounted read-only: {}", "mount it read-write"),
    "node.disk-full": _Meaning(_STOP, _ADMIN, "no room on the node's disk: {}", "free space, inodes or quota"),
    "node.script-failed": _Meaning(_ASK, _OPERATOR, "{}", "look at the node; if it is well, report this as a bug"),
    "node.file-missing": _Meaning(_STOP, _ADMIN, "{} does not exist", "check the path in cassandra.yaml"),
    "node.not-a-file": _Meaning(_STOP, _ADMIN, "{} is not a regular file", "check the path in cassandra.yaml"),
    "node.file-unreadable": _Meaning(
        _STOP, _ADMIN, "{} may not be read", "allow it, or add the sudoers lines that the preflight prints"
    ),
    "node.file-too-large": _Meaning(_STOP, _ADMIN, "{}", "check the path in cassandra.yaml"),
    "node.manifest-damaged": _Meaning(
        _ASK,
        _OPERATOR,
        "{}: its manifest cannot be read",
        "find out who changed it; then remove that generation's folder and start the rollout again",
    ),
    "node.state-damaged": _Meaning(
        _ASK,
        _OPERATOR,
        "{} is not what sealring writes there",
        "find out who changed it; when no rollout is at work on this node, remove that file",
    ),
    "node.key-missing": _Meaning(
        _STOP,
        _OPERATOR,
        "{}: the private key that this certificate was issued for does not lie there",
        "issue anew into another directory (sealring material issue), then start the rollout with that one",
    ),
    "node.key-differs": _Meaning(
        _STOP,
        _OPERATOR,
        "{}: the certificate does not belong to the private key that lies there",
        "issue anew into another directory (sealring material issue)",
    ),
    "node.openssl-failed": _Meaning(
        _STOP, _ADMIN, "openssl failed on this node: {}", "mend it: OpenSSL 1.1.1 or later is needed"
    ),
    "node.sudo-refused": _Meaning(
        _STOP, _ADMIN, "sudo refused: {}", "add the sudoers lines that the preflight prints, with NOPASSWD"
    ),
    "node.privileges": _Meaning(_STOP, _ADMIN, "nobody we may be can replace the stores: {}", ""),
    "node.service-missing": _Meaning(
        _STOP, _OPERATOR, "{}", "set service.name in the cluster file to the systemd unit that runs Cassandra"
    ),
    "node.service-refused": _Meaning(_STOP, _ADMIN, "{}", "add the sudoers lines that the preflight prints"),
    "node.service-failed": _Meaning(
        _ASK, Actor.CASSANDRA_ADMIN, "{}", "read the unit's journal and Cassandra's system.log on the node"
    ),
}

_SYSTEM = {
    "No space left on device": "node.disk-full",
    "Disk quota exceeded": "node.disk-full",
    "Read-only file system": "node.read-only",
    "Permission denied": "node.permission",
    "Operation not permitted": "node.permission",
}


def refusal(code: str, detail: str, address: str, *, remedy: str = "") -> SealringError:
    """The error for a refusal on a node.

    Args:
        code: one of the codes above; a script's unknown code becomes `node.script-failed`.
        detail: the path, the generation or the words that the code is about.
        address: the node's address.
        remedy: replaces the usual remedy when more is known.
    """
    meaning = MEANINGS.get(code)
    if meaning is None:
        return refusal("node.script-failed", f"{code}: {detail}", address)
    return SealringError(
        code,
        meaning.message.format(detail or "(not named)"),
        error_class=meaning.error_class,
        actor=meaning.actor,
        remedy=remedy or meaning.remedy,
        node=address,
    )


def system_refusal(words: str, address: str) -> SealringError | None:
    """The error for words of the system on stderr (LC_ALL=C), when they are among those we know."""
    code = next((code for phrase, code in _SYSTEM.items() if phrase in words), None)
    return refusal(code, words, address) if code else None

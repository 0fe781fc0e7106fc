"""A node's generations: keep what is in force, write a new one beside it, put one in force, take leave.

Design section 5. Every function may be called again after a kill at any instant: it finishes the job or says why not.
What happens on the node is in the script of the same name under `scripts/`; here are its inputs and its answer.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pydantic import Field

from sealring.hosts.manifest import Manifest, Place, digest_of, make_manifest, names, parse_manifest, pieces, rest, sums
from sealring.hosts.refusals import refusal
from sealring.hosts.shell import Feed, Shell, number, one, run_script
from sealring.models.base import Fact
from sealring.models.node import Change, DiskState, Generation
from sealring.models.rollout import Activated, Transferred
from sealring.pki.views import View

LOCK_SECONDS = 30
"""How long a script waits for another one on the same node."""

MOST_SECONDS = 253_402_300_800  # the year 10000
CHUNK = 64 * 1024
"""Bytes of a piece: what an interrupted transfer does not have to send again is counted in these."""

_TOKEN = re.compile(r"^[A-Za-z0-9_.:/-]*$")


class Intent(Fact):
    """What was about to happen on a node: intent.json."""

    rollout: str
    step: str
    to: str = Field("", description="The generation to be put in force.")
    from_: str = Field("", alias="from", description="`current` before this rollout touched the node.")
    previous: str = Field("", description="`previous` before this rollout touched the node.")


async def read_disk(shell: Shell, place: Place) -> DiskState:
    """A node's generations, and whether the files that cassandra.yaml names are those of `current`.

    Raises:
        SealringError: `node.permission`, `node.manifest-damaged`, and all of `run_script`.
    """
    pairs = await run_script(
        shell, "state", variables=_base(place), arguments=tuple(place.roles), become=place.become, timeout=60
    )
    found = {link: _manifest(shell, place, pairs, link) for link in ("current", "previous")}
    current, previous = found["current"], found["previous"]
    on_disk = {path: digest for digest, _, path in (value.partition(" ") for key, value in pairs if key == "store")}
    files = {key: f"{place.state_dir}/{key}.json" for key in ("intent", "last")}
    intents = [_intent(value, files[key], shell.address) for key, value in pairs if key == "intent"]
    settled = [_intent(value, files[key], shell.address) for key, value in pairs if key == "last"]
    return DiskState(
        current=current and current.generation,
        previous=previous and previous.generation,
        generations=tuple(value for key, value in pairs if key == "generation"),
        in_force=current is not None and on_disk == _digests(current, place, shell.address),
        whole=one(pairs, "whole") == "yes",
        intent=intents[0].rollout if intents else "",
        last=_change(settled[0], number(one(pairs, "last_at"), "time of last.json", shell)) if settled else None,
    )


async def read_manifest(shell: Shell, place: Place, generation_id: str) -> Manifest:
    """The manifest of one generation, with its files.

    Raises:
        SealringError: `node.generation-missing`, `node.manifest-damaged`, and all of `run_script`.
    """
    pairs = await run_script(
        shell, "manifest", variables={**_base(place), "id": generation_id}, become=place.become, timeout=60
    )
    where = f"{place.tls_dir}/generations/{generation_id}"
    return _own(
        parse_manifest(_decoded(one(pairs, "manifest")), where, shell.address), generation_id, where, shell.address
    )


async def adopt(
    shell: Shell, place: Place, generation: Generation, files: Mapping[str, bytes | View], *, rollout: str
) -> bool:
    """Keep what is in force as a generation, and let `current` point to it: the backup.

    The copy is made on the node, with owner, mode, ACL, extended attributes and label, and compared with `files`.

    Args:
        shell: the host.
        place: where its stores are.
        generation: the public part of what is in force; `adopted` is set here.
        files: content by store path, as the caller read it when it worked out `generation`. Not sent.
        rollout: the rollout that asks.

    Returns:
        Whether anything was changed on the node.

    Raises:
        SealringError: `node.busy`, `node.locked`, `node.changed-meanwhile`, `node.layout-unsupported`, and all of
            `run_script`.
    """
    adopted = generation.model_copy(update={"adopted": True})
    manifest = make_manifest(place, adopted, files, rollout=rollout, address=shell.address)
    pairs = await run_script(
        shell,
        "adopt",
        variables=_writing(place, manifest, rollout),
        arguments=_pairs(place, shell.address),
        become=place.become,
    )
    return one(pairs, "changed") == "yes"


async def stage_generation(
    shell: Shell,
    place: Place,
    generation: Generation,
    files: Mapping[str, bytes | View],
    *,
    rollout: str,
    anew: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Transferred:
    """Write a generation beside the others; nothing in force is touched.

    The contents go over stdin, never into arguments or a temporary file elsewhere; nobody else may read a file before
    it has its mode; digests are taken on the node after fsync. A generation that is there with the right digests is
    not sent, nor a file that another generation has, nor the pieces that an interrupted try has left.

    Args:
        shell: the host.
        place: where its stores are.
        generation: the public part.
        files: content by store path. PKCS#12 differs at each write: only the same bytes can be gone on with. What the
            node assembled itself (`sealring.hosts.node_keys`) is taken from there.
        rollout: the rollout that brings it.
        anew: send it though one is there whole: it does not open with the password that cassandra.yaml names now.
        progress: told how many bytes were sent, and how many are to be sent.

    Raises:
        SealringError: `node.busy`, `node.locked`, `node.transfer-damaged`, `node.generation-incomplete`,
            `node.attributes`, `node.disk-full`, and all of `run_script`.
    """
    manifest = make_manifest(place, generation, files, rollout=rollout, address=shell.address)
    sent = 0

    def missing(lines: str) -> bytes:
        nonlocal sent
        have = dict(
            line.removeprefix("have=").rsplit(" ", 1) for line in lines.splitlines() if line.startswith("have=")
        )
        rests = (rest(files[file.path], int(have.get(file.name, 0)), shell.address) for file in manifest.files)
        content = b"".join(rests)
        sent = len(content)
        return content

    pairs = await run_script(
        shell,
        "stage",
        variables=_writing(place, manifest, rollout) | {"anew": "yes" if anew else "no", "chunk": str(CHUNK)},
        arguments=[
            word
            for file in manifest.files
            for content in (files[file.path],)
            for word in (file.name, file.mode, file.path, str(len(content)), file.sha256, pieces(content, CHUNK))
        ],
        secret_input=Feed(missing, progress),
        become=place.become,
    )
    return Transferred(generation=generation.id, bytes_sent=sent, skipped=one(pairs, "skipped") == "yes")


async def flip(shell: Shell, place: Place, generation_id: str, *, rollout: str, step: str = "flip") -> Activated:
    """Put a generation in force; the intent stays on the node until `settle`.

    Slots: one rename of `current`. In place: every file is replaced by a rename in its own folder, truststores first,
    with the attributes of the file it replaces, then `current`. `previous` becomes what was in force when the rollout
    first touched the node; when the rollout flips back to that, `previous` is again what it was then.

    Raises:
        SealringError: `node.busy`, `node.locked`, `node.not-backed-up`, `node.drifted`, `node.generation-missing`,
            `node.generation-damaged`, `node.generation-incomplete`, `node.attributes`, and all of `run_script`.
    """
    pairs = await run_script(
        shell,
        "flip",
        variables={
            **_base(place),
            "layout": place.layout,
            "id": generation_id,
            "rollout": _token(rollout),
            "step": _token(step),
        },
        arguments=_pairs(place, shell.address),
        become=place.become,
    )
    return Activated(
        current=generation_id, previous=one(pairs, "previous") or None, changed=one(pairs, "changed") == "yes"
    )


async def settle(shell: Shell, place: Place, *, rollout: str, keep: int) -> tuple[str, ...]:
    """The rollout is done with this node: its intent becomes the last change, the oldest generations go.

    Args:
        shell: the host.
        place: where its stores are.
        rollout: the rollout whose intent may be there.
        keep: how many generations stay, `current` and `previous` among them.

    Returns:
        The generations that were removed.

    Raises:
        SealringError: `node.busy`, `node.locked`, and all of `run_script`.
    """
    variables = {**_base(place), "rollout": _token(rollout), "keep": str(keep)}
    pairs = await run_script(shell, "settle", variables=variables, become=place.become)
    return tuple(value for key, value in pairs if key == "removed")


def _base(place: Place) -> dict[str, str]:
    return {"tls_dir": place.tls_dir, "state_dir": place.state_dir, "lock_wait": str(LOCK_SECONDS)}


def _writing(place: Place, manifest: Manifest, rollout: str) -> dict[str, str]:
    written = manifest.model_dump_json() + "\n"
    return {
        **_base(place),
        "id": manifest.id,
        "owner": f"{place.user}:{place.group}",
        "rollout": _token(rollout),
        "manifest": written,
        "manifest_sum": digest_of(written.encode()),
        "sums": sums(manifest),
    }


def _pairs(place: Place, address: str) -> list[str]:
    """NAME PATH of every store, truststores first."""
    return [word for path, name in names(place, address).items() for word in (name, path)]


def _token(text: str) -> str:
    """Text that may stand in intent.json as it is: the scripts look for its fields as texts."""
    if not _TOKEN.match(text):
        raise ValueError(f"not usable in an intent: {text!r}")
    return text


def _manifest(shell: Shell, place: Place, pairs: list[tuple[str, str]], link: str) -> Manifest | None:
    named, where = one(pairs, link), f"{place.tls_dir}/{link}"
    if not named:
        return None
    manifest = parse_manifest(_decoded(one(pairs, f"{link}_manifest")), where, shell.address)
    return _own(manifest, named, where, shell.address)


def _own(manifest: Manifest, generation_id: str, where: str, address: str) -> Manifest:
    """The manifest, when it is that of the generation whose folder it lies in."""
    if manifest.id != generation_id:
        raise refusal("node.manifest-damaged", where, address)
    return manifest


def _digests(manifest: Manifest, place: Place, address: str) -> dict[str, str]:
    """What the stores must be for the generation to be in force: by path of today's cassandra.yaml."""
    by_name = {file.name: file.sha256 for file in manifest.files}
    return {path: by_name.get(name, "") for path, name in names(place, address).items()}


def _intent(encoded: str, where: str, address: str) -> Intent:
    try:
        return Intent.model_validate(json.loads(_decoded(encoded)))
    except (ValueError, RecursionError):  # a ValidationError is a ValueError
        raise refusal("node.state-damaged", where, address) from None


def _change(settled: Intent, seconds: int) -> Change:
    return Change(
        rollout=settled.rollout,
        before=settled.from_,
        after=settled.to,
        # A clock gone astray may have left any number; years that do not exist are as old as can be.
        at=datetime.fromtimestamp(seconds if 0 <= seconds < MOST_SECONDS else 0, UTC),
    )


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return b""

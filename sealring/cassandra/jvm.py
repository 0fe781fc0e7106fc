"""The service's own Java opens stores with the live passwords: its `keytool`, on the node (rows 1, 2 and 11).

Our parser may open what an old Java cannot, and the other way round; what counts is the Java that will read the file.
Stores that are on the node's disk are read there. Drafts are sent, kept in memory (/dev/shm, where the host has it) and
removed however the look ends: nothing on the node's disk changes.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from sealring.cassandra.judging import Judge
from sealring.errors import Actor
from sealring.hosts.shell import Become, Shell, run_script
from sealring.models.evidence import Finding
from sealring.models.node import StoreFile
from sealring.pki.stores import ALIAS

CHECK = "node.jvm-store"
SCRIPT_SECONDS = 180.0  # a keytool takes half a second, on a busy machine a hundred times that
DRAFT = "-"


@dataclass(frozen=True)
class Opened:
    """A store to be opened.

    Args:
        store: what it is for.
        password: from cassandra.yaml.
        at: its path on the node; empty for a draft.
        draft: its content, when it is not on the node.
    """

    store: StoreFile
    password: str = field(repr=False)
    at: str = ""
    draft: bytes = field(default=b"", repr=False)


async def opened_by_java(
    shell: Shell, stores: Sequence[Opened], judge: Judge, *, pid: int, program: str, become: Become = ""
) -> Finding:
    """`node.jvm-store`: fails when the Java refuses a store; warns when it could not be asked.

    PEM stores are left to our own parser, which has the rules of Cassandra's PEMReader: keytool reads none.

    Args:
        shell: the host.
        stores: what to open.
        judge: of the node.
        pid: of the running process; 0: none.
        program: what its command line begins with, for when its program may not be looked up.
        become: the user that may read them.

    Raises:
        SealringError: all of `run_script`.
    """
    asked = [store for store in stores if store.store.format != "PEM" and _typable(store.password)]
    if not asked:
        return judge.passed(CHECK, "no store that keytool could be asked about: PEM, or no plain password")
    arguments, lines = [], []
    for number, store in enumerate(asked):
        arguments += [store.at or DRAFT, f"{store.store.role}-{number}", ALIAS.decode()]
        lines += [store.password] + ([] if store.at else [base64.b64encode(store.draft).decode()])
    pairs = await run_script(
        shell,
        "jvm",
        variables={"pid": str(pid), "program": program},
        arguments=arguments,
        secret_input="".join(f"{line}\n" for line in lines).encode(),
        timeout=SCRIPT_SECONDS,
        become=become,
    )
    java = next((value for key, value in pairs if key == "java"), "") or "a program that is not known"
    answers = [value for key, value in pairs if key == "store"]
    if ("keytool", "missing") in pairs or len(answers) != len(asked):
        return _not_asked(f"there is no keytool beside {java}", judge)
    refused = [f"{s.store.path}: {said}" for s, said in zip(asked, answers, strict=True) if said != "opened"]
    if refused:
        return judge.failed(
            CHECK,
            f"{java} does not open {'; '.join(refused)}",
            "compare store_type and passwords of cassandra.yaml with what this Java can read",
        )
    return judge.passed(CHECK, f"{java} opens {len(asked)} stores with the passwords of cassandra.yaml")


def _typable(password: str) -> bool:
    """keytool asks on a line, in the locale's letters."""
    return bool(password) and password.isascii() and password.isprintable()


def _not_asked(why: str, judge: Judge) -> Finding:
    remedy = "install the JDK's keytool there to have the service's own Java asked; our parser has opened them"
    return judge.warned(CHECK, f"{why}: its Java was not asked", remedy, Actor.NODE_ADMIN)

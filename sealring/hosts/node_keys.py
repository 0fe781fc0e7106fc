"""Private keys that are made on a node and stay there: ask for a request, bring the certificate, use the key.

What goes to the node are names, certificates and store passwords (on stdin); what comes back are requests, digests,
certificates and public keys. The key lies in `<state dir>/issue/<request>` until the generation that was made of it is
in force (`settle`); needs openssl on the node.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from sealring.hosts.generations import LOCK_SECONDS
from sealring.hosts.manifest import Place, names
from sealring.hosts.refusals import refusal
from sealring.hosts.shell import Shell, number, one, run_script
from sealring.models.base import Sha256
from sealring.models.node import StoreFormat
from sealring.pki.requests import Request, read_request
from sealring.pki.views import View

_NAME = re.compile(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
_SHOWN = re.compile(r"^([0-9a-f]{64}) ([0-9]{1,15}) (.*)$")


@dataclass(frozen=True)
class OnNode:
    """What lies on a node for one request."""

    request: Request
    certificate: bytes  # PEM, leaf and chain; empty when none was brought yet
    trust: bytes  # PEM


async def ask_node(
    shell: Shell, place: Place, request: str, kind: Literal["ec-p256", "rsa-3072"], wanted: Sequence[str]
) -> OnNode:
    """Let a node make a key and the request for its certificate; asked again, it shows what is there.

    Args:
        shell: the host.
        place: where its stores are; the key belongs to whom they belong to.
        request: names the request on the node, a word; other names or another kind of key need another word.
        kind: of the key.
        wanted: IP addresses and DNS names that the certificate shall be for; the first DNS name is the common name too.

    Raises:
        SealringError: `node.tool-missing`, `node.openssl-failed`, `node.locked`, `node.state-damaged` when the node
            answers with another request, and all of `run_script`.
    """
    known = [(*_kind_of(name), name) for name in wanted]
    common = next((name for kind_, _, name in known if kind_ == "DNS" and len(name) <= 64), "")  # ub-common-name
    variables = {
        "request": request,
        "kind": kind,
        "names": ",".join(f"{kind_}:{text}" for kind_, text, _ in known),
        "common": common,
    }
    pairs = await run_script(shell, "request", variables=_base(place) | variables, become=place.become)
    found = read_request(_decoded(one(pairs, "request")), f"{shell.address}:{_folder(place, request)}/request.pem")
    if found.names != {text for _, text, _ in known}:
        raise refusal("node.state-damaged", f"{_folder(place, request)}/request.pem", shell.address)
    return OnNode(found, _decoded(one(pairs, "certificate")), _decoded(one(pairs, "trust")))


async def bring_certificate(shell: Shell, place: Place, request: str, certificate: bytes, trust: bytes) -> None:
    """Put what was issued beside the key that it was issued for. Repeated, it does so again.

    Raises:
        SealringError: `node.key-missing`, `node.key-differs`, `node.tool-missing`, `node.locked`, and all of
            `run_script`.
    """
    variables = {"request": request, "certificate": certificate.decode(), "trust": trust.decode()}
    await run_script(shell, "issued", variables=_base(place) | variables, become=place.become)


async def assemble_keystores(
    shell: Shell,
    place: Place,
    generation: Sha256,
    public: Sha256,
    certificate: bytes,
    stores: Mapping[str, tuple[StoreFormat, str]],
) -> dict[str, View]:
    """Let a node make its keystores of the key that lies there; `stage_generation` takes them on.

    Args:
        shell: the host.
        place: where its stores are.
        generation: what they are for.
        public: names the key, `NodeKey.digest`.
        certificate: PEM, leaf and chain.
        stores: format and password of each keystore, by its path.

    Raises:
        SealringError: `node.key-missing`, `node.key-differs`, `node.tool-missing`, `node.openssl-failed`,
            `node.locked`, and all of `run_script`.
    """
    named = {name: path for path, name in names(place, shell.address).items() if path in stores}
    pairs = await run_script(
        shell,
        "assemble",
        variables=_base(place) | {"id": generation, "public": public, "certificate": certificate.decode()},
        arguments=[word for name, path in named.items() for word in (name, stores[path][0])],
        secret_input=_lines(stores[path][1] for path in named.values()),
        become=place.become,
    )
    made = [_shown(value, "assemble", shell) for key, value in pairs if key == "store"]
    return {named[name]: View(digest, size, b"") for digest, size, name in made}


async def view_keystores(shell: Shell, place: Place, stores: Mapping[str, tuple[StoreFormat, str]]) -> dict[str, View]:
    """What the node shows of keystores without their keys, in the same order.

    Args:
        shell: the host.
        place: whose user may read them.
        stores: format and password of each keystore, by the path of the file.

    Raises:
        SealringError: `node.file-missing`, `node.not-a-file`, `node.file-unreadable`, `node.tool-missing`, and all of
            `run_script`. One that does not open is an empty view: reading it tells.
    """
    pairs = await run_script(
        shell,
        "view",
        arguments=[word for path, (store_format, _) in stores.items() for word in (path, store_format)],
        secret_input=_lines(password for _, password in stores.values()),
        become=place.become,
    )
    shown = [_shown(value, "view", shell) for key, value in pairs if key == "view"]
    views = (View(digest, size, _decoded(text)) for digest, size, text in shown)
    return dict(zip(stores, views, strict=True))


def _kind_of(name: str) -> tuple[Literal["IP", "DNS"], str]:
    """How openssl writes a name, and the name as `sealring.pki.requests` does."""
    try:
        return "IP", str(ip_address(name))
    except ValueError:
        if not _NAME.match(name):
            raise ValueError(f"not a name for a certificate: {name!r}") from None
        return "DNS", name.lower()


def _base(place: Place) -> dict[str, str]:
    return {"state_dir": place.state_dir, "lock_wait": str(LOCK_SECONDS)}


def _folder(place: Place, request: str) -> str:
    return f"{place.state_dir}/issue/{request}"


def _lines(passwords: Iterable[str]) -> bytes:
    return "".join(f"{password}\n" for password in passwords).encode()


def _shown(value: str, script: str, shell: Shell) -> tuple[str, int, str]:
    match = _SHOWN.match(value)
    if match is None:
        raise refusal("node.script-failed", f"{script}.sh told no digest and size", shell.address)
    return match[1], number(match[2], "size", shell), match[3]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""

"""What a person does where the engine could not prove a node: a checklist with the exact commands. Pure."""

import shlex
from collections.abc import Sequence

from sealring.models.evidence import Served, Verdict
from sealring.models.plan import Target
from sealring.models.rollout import MatrixRow, NodeOutcome, NodeState

MOST_NODES = 3
"""Nodes with a checklist of their own: who has more of them works by the first ones' pattern."""

_STEP = "     "


def unproven(outcome: NodeOutcome) -> bool:
    """Whether nobody knows for sure what a node serves."""
    doubted = outcome.verification is not None and outcome.verification.verdict is Verdict.INCONCLUSIVE
    return outcome.state is NodeState.BROKEN or doubted


def checklist(target: Target, outcome: NodeOutcome, row: MatrixRow | None, answers: Sequence[str]) -> tuple[str, ...]:
    """The lines of a checklist for one node.

    Args:
        target: what the node should serve.
        outcome: how it ended, or where it stands.
        row: what the report's look at the node saw, when there was one.
        answers: the commands that tell the engine what was found.
    """
    node, proof = target.node.address, outcome.verification
    expected = {target.generation: ("new", target.leaf_sha256)}
    if outcome.before is not None:
        expected[outcome.before.id] = ("before", outcome.before.leaf_sha256)
    if outcome.generation in expected:
        expected = {outcome.generation: expected[outcome.generation]}
    known = proof is not None and bool(proof.tls_dir)
    tls_dir, stores = (proof.tls_dir, proof.stores) if proof and known else ("TLS_DIR", ("STORES",))
    sums = [f"{tls_dir}/generations/{generation}/SHA256SUMS" for generation in expected]
    digests = f"sha256sum {shlex.join(stores)}; cat {shlex.join(sums)}"
    peers = [peer.address for peer in target.vantages] or [node]
    return (
        f"prove {node} by hand:",
        f"  1. each listener shows this fingerprint, seen from here and from {', '.join(peers)}"
        " (-cert and -key where a client certificate is asked for):",
        *(f"{_STEP}{label:<6} {_colons(leaf)}" for label, leaf in expected.values()),
        *(f"{_STEP}{_look(place)}" for place in _places(node, (*_seen(row), *(proof.served if proof else ())))),
        "  2. each digest of a file in force stands in the generation's sums:",
        f"{_STEP}ssh {node} {shlex.quote(digests)}",
        *(() if known else (f"{_STEP}TLS_DIR, STORES: where and what the stores of cassandra.yaml are",)),
        "  3. every node is UN, as its peers see it:",
        *(f"{_STEP}ssh {peer} nodetool status" for peer in peers),
        "  4. then say what you found:",
        *(f"{_STEP}{answer}" for answer in answers),
    )


def _seen(row: MatrixRow | None) -> tuple[Served, ...]:
    return row.served if row else ()


def _places(node: str, served: Sequence[Served]) -> list[str]:
    """HOST:PORT of each listener."""
    found = dict.fromkeys((s.listener.address, str(s.listener.port)) for s in served)
    places = found or {(node, "PORT"): None}  # nobody has seen its listeners: the person looks them up
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places]


def _look(place: str) -> str:
    return f"openssl s_client -connect {place} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"


def _colons(digest: str) -> str:
    """As openssl prints it."""
    return ":".join(digest[i : i + 2].upper() for i in range(0, len(digest), 2))

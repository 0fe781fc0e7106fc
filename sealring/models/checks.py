"""Every check by its code: how much it weighs, where it runs, what it means, what to do. The only list of them.

`docs/checks.md` is generated from it; a waiver is judged by it. Rows are the failure modes of the handbook
(domain/cassandra.md, section 5) that operators of Cassandra met. Pure data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a check that did not pass means for a rollout."""

    BLOCKER = "blocker"  # the node would be lost: no waiver lifts it
    NEEDS_WAIVER = "needs-waiver"  # it may be meant so: a person says so, by a waiver
    WARNING = "warning"  # told, and never in the way


class Where(StrEnum):
    """Where a check looks."""

    DELIVERY = "delivery"  # at the material, with no node; and again at each node's clock
    NODE = "node"  # on the node, before anything in force is changed
    JVM = "jvm"  # on the node, with the Java of the service
    CQL = "cql"  # asked of the running node
    PEERS = "peers"  # with the eyes or the truststores of other nodes
    RING = "ring"  # at the ring as a whole
    AFTER = "after"  # after activation


@dataclass(frozen=True)
class Check:
    """One check."""

    code: str
    severity: Severity
    where: Where
    rows: tuple[int, ...]  # of the handbook
    what: str  # what holds when it passes
    remedy: str  # in general; a finding has the particular one


_B, _W, _N = Severity.BLOCKER, Severity.WARNING, Severity.NEEDS_WAIVER
# fmt: off
_ALL = (
    # The delivery
    Check("material.expired", _B, Where.DELIVERY, (4,),
          "no certificate that is presented is expired", "issue a new one"),
    Check("material.key-matches-leaf", _B, Where.DELIVERY, (3,),
          "the private key belongs to the leaf", "deliver its key"),
    Check("material.ca-flag", _N, Where.DELIVERY, (7,),
          "intermediates are authorities, the leaf is none", "put the leaf first"),
    Check("material.validity", _N, Where.DELIVERY, (4,), "enough validity is left (`policy.min_remaining`)", "renew"),
    Check("material.clock", _N, Where.DELIVERY, (8,),
          "notBefore lies before the clocks of worker and node", "mend the clock"),
    Check("material.chain", _N, Where.DELIVERY, (4,),
          "a path builds from the leaf to an authority of the delivery", "add the intermediate"),
    Check("material.chain-order", _N, Where.DELIVERY, (4,),
          "no missing, stray or misordered certificate", "leaf, issuer, its issuer"),
    Check("material.key-strength", _N, Where.DELIVERY, (11, 12),
          "RSA size, curve (`policy.min_rsa_bits`, `policy.curves`)", "use a stronger key"),
    Check("material.signature", _N, Where.DELIVERY, (12,), "no SHA-1, no MD5", "issue it with SHA-256"),
    Check("material.usage", _N, Where.DELIVERY, (7,),
          "server and client: internode uses the leaf in both roles", "issue it for both"),
    Check("material.names", _N, Where.DELIVERY, (6,),
          "IP SANs for every address peers use; `policy.names`", "issue it with them"),
    Check("material.lifetime", _N, Where.DELIVERY, (9,),
          "not longer-lived than `policy.max_validity` (warns) and the node's `max_certificate_validity_period` allow",
          "issue shorter-lived leaves"),
    Check("material.trusted-by-peers", _N, Where.PEERS, (4, 5),
          "each vantage peer's truststore, as it is now, accepts leaf and address",
          "give the peers the authority first"),
    Check("material.trusted-by-delivery", _N, Where.DELIVERY, (5,),
          "CA rotation: what each node is to trust in the end accepts every delivered leaf",
          "deliver the authorities of all delivered leaves"),
    # The node, before
    Check("node.reachable", _B, Where.NODE, (), "SSH from the worker", "open the way; the error's code says more"),
    Check("node.configuration", _B, Where.NODE, (1, 11),
          "cassandra.yaml and its stores are understood", "see the error's code"),
    Check("node.service", _N, Where.NODE, (18, 23), "the service runs", "start it"),
    Check("node.stores", _B, Where.NODE, (1, 2),
          "the stores in force open with cassandra.yaml's passwords", "mend the password"),
    Check("node.password-login", _W, Where.NODE, (), "no server on the way was sent a password", "use a key"),
    Check("node.disk-space", _N, Where.NODE, (15,), "room for backup and new generation", "free space"),
    Check("node.inodes", _N, Where.NODE, (15,), "inodes for backup and new generation", "remove files"),
    Check("node.read-only", _B, Where.NODE, (15,),
          "the folders are on a file system mounted read-write", "mount it read-write"),
    Check("node.tools", _B, Where.NODE, (), "coreutils and flock are there", "install them"),
    Check("node.sudo", _N, Where.NODE, (13,),
          "the sudo rights that will be needed, proven", "add the printed sudoers lines"),
    Check("node.backup", _B, Where.NODE, (13, 15),
          "what is in force can be kept: it opens, and there is room and the right to write",
          "mend what its message names"),
    Check("node.drift", _N, Where.NODE, (17,),
          "the running node has the settings of cassandra.yaml; warns before a reload", "make the file say what runs"),
    Check("node.managed", _W, Where.NODE, (14,),
          "no configuration management (Puppet, Chef, Ansible, Salt) that may write the old files back",
          "let it leave the stores alone"),
    Check("node.store-link", _W, Where.NODE, (14, 16),
          "stores are plain files, or links of ours", "name the file itself"),
    Check("node.store-mount", _B, Where.NODE, (14,),
          "no store is a mounted file: a rename cannot replace one", "mount its folder"),
    Check("node.shared-store", _W, Where.NODE, (16,),
          "no two paths are one file by a hard link: a rename would part them", "name one path"),
    Check("node.autostart", _W, Where.NODE, (18,),
          "the unit is enabled: it comes back after a reboot", "systemctl enable it"),
    Check("node.memory", _N, Where.NODE, (18,),
          "the machine has the memory that the heap asks for; warns before a reload", "free memory, or lower the heap"),
    Check("node.data-space", _N, Where.NODE, (18,),
          "room on the file systems of data and commit log; warns before a reload", "free space"),
    Check("node.uptime", _W, Where.NODE, (18,),
          "it was started within half a year: a start is known to work", "restart it on purpose first"),
    Check("node.long-start", _N, Where.NODE, (19,),
          "the last start and the commit log fit into `service.start_timeout`; warns before a reload",
          "raise service.start_timeout"),
    Check("node.busy", _B, Where.NODE, (30,),
          "no other rollout's intent on the disk. Also before each wave", "let that rollout end"),
    Check("node.held", _N, Where.NODE, (),
          "before each wave: no file of another tool that is at work there (`service.hold_files`)",
          "wait until that tool is done"),
    Check("node.jvm-store", _B, Where.JVM, (1, 2, 11),
          "the service's own Java opens the stores with the live passwords and can use the key",
          "look at store type, password and Java version"),
    Check("node.jvm-algorithms", _N, Where.JVM, (12,),
          "key and signatures are none that the Java disables", "use another key or hash"),
    Check("node.ciphers", _N, Where.NODE, (12,),
          "`cipher_suites` has one for the kind of the leaf's key", "add one, or leave it out"),
    Check("node.revocation", _N, Where.JVM, (27,),
          "no CRL or OCSP checks; fails when they are on and the leaf names neither", "name them in the leaf"),
    Check("node.jmx-store", _W, Where.JVM, (28,),
          "JMX over TLS does not use a file that is replaced", "give JMX its own store"),
    Check("node.peer-identity", _N, Where.NODE, (10,),
          "with the mutual TLS internode authenticator the leaf's identity stays, or is listed",
          "list both identities and restart first"),
    Check("node.expired", _N, Where.NODE, (29,),
          "no listener serves an expired certificate now", "[emergency.md](emergency.md)"),
    Check("node.vantage", _N, Where.PEERS, (23,),
          "every listener answers a handshake from the worker and through every vantage peer", "open the way"),
    Check("node.cql", _W, Where.CQL, (17,),
          "the node answers CQL: what it runs with and what it is doing can be seen", "check the cql section"),
    Check("node.streaming", _N, Where.CQL, (21,),
          "no stream, bootstrap, rebuild or decommission; warns before a reload. Also before each wave",
          "wait (nodetool netstats)"),
    Check("node.repair", _N, Where.CQL, (22,),
          "no repair, validation or anticompaction; warns before a reload. Also before each wave",
          "wait (nodetool repair_admin)"),
    Check("node.hints", _N, Where.CQL, (20,),
          "no hints owed to other nodes; fails before a restart when half of `max_hint_window` is over",
          "wait until they are handed off"),
    Check("node.clients", _W, Where.CQL, (26,),
          "clients connected now trust the authority that will be presented", "give it to them first"),
    Check("node.staged", _B, Where.NODE, (1, 15),
          "the generation on the disk is the delivered one and opens", "transfer it again"),
    Check("node.kept", _B, Where.NODE, (),
          "the generation to go back to is whole and opens", "deploy known good material"),
    Check("node.kept-expired", _B, Where.NODE, (4,),
          "the generation to go back to is still valid", "deploy new material"),
    # The ring; also before every wave
    Check("ring.node-down", _N, Where.RING, (23,),
          "every node is up for two observers in different racks", "bring it back"),
    Check("ring.node-moving", _N, Where.RING, (21,), "no node is joining, leaving or moving", "wait for its end"),
    Check("ring.schema-disagreement", _N, Where.RING, (24,), "one schema version", "wait, or find the node that lags"),
    Check("ring.observers", _N, Where.RING, (23,),
          "two observers told how the ring is", "let CQL be open from the worker"),
    Check("ring.rollout-running", _W, Where.RING, (30,),
          "no rollout of this ring is in progress: what is seen may change", "wait for its end"),
    Check("ring.quorum", _B, Where.RING, (23, 25),
          "every promise of every keyspace is kept while the wave's nodes are away, with what is down now",
          "wait until the replicas are back; a keyspace that can spare no replica even then is waived by its name, "
          "`plan.quorum.KEYSPACE`"),
    Check("ring.topology", _B, Where.RING, (), "tokens and keyspaces, on which the plan rests, are told over CQL",
          "let CQL be open from the worker"),
    Check("ring.busy", _N, Where.RING, (),
          "no more requests wait in any node than `rollout.max_pending`, none is slower than `rollout.max_p99`",
          "wait for a quieter hour"),
    Check("ring.narrowed", _W, Where.RING, (),
          "waves go as planned; after the ring was too busy, in smaller parts: [planning.md](planning.md)", ""),
    Check("ring.node-left", _W, Where.RING, (21,), "no node left the ring during the rollout", ""),
    Check("ring.node-joined", _W, Where.RING, (21,),
          "no node joined the ring during the rollout, or it is taken in (`rollout.newcomers`)",
          "start it again when it is over"),
    Check("ring.node-replaced", _W, Where.RING, (),
          "no node took the place and address of another during the rollout: it counts as one that joined",
          "start it again when it is over"),
    Check("trust.states", _N, Where.RING, (5,),
          "all nodes, and the engine itself, can talk to each other in every state of the plan, both roles, until its "
          "end: [trust.md](trust.md)", "what its message names"),
    Check("trust.already", _W, Where.RING, (5,), "no pair of nodes fails before anything is changed", "mend it"),
    Check("trust.ending", _W, Where.RING, (29,),
          "no certificate in force ends before the rollout does", "begin with those nodes"),
    Check("trust.unknown", _N, Where.RING, (5,),
          "every node could be read, so that it is known whom it believes", "let the node be read"),
    # Between the stages of a CA rotation: [ca-rotation.md](ca-rotation.md)
    Check("barrier.generation", _B, Where.RING, (),
          "the files in force are those of the stage before, whole", "start the same command again"),
    Check("barrier.not-trusted", _B, Where.RING, (),
          "each truststore accepts each leaf in force and each delivered one, all ordered pairs",
          "start the same command again"),
    Check("barrier.client-not-trusted", _B, Where.RING, (),
          "each truststore accepts every known client", "deliver the client's authority too"),
    Check("barrier.client-needs-old", _B, Where.RING, (),
          "with the delivery alone each truststore accepts every known client",
          "give the client a certificate of the new authority"),
    Check("barrier.handshake", _B, Where.PEERS, (),
          "new connections from vantage peers with their own identities, old and new, are accepted",
          "see its message; a reload may not have been heard"),
    Check("barrier.old-presented", _B, Where.RING, (),
          "the delivery's authorities accept every leaf that is shown: nothing presents the old authority",
          "start the same command again"),
    Check("barrier.unread", _N, Where.RING, (), "every node could be looked at", "bring the node back"),
    Check("barrier.live-client", _W, Where.CQL, (),
          "nobody is connected whose certificate cannot be seen", "ask the owners that it names"),
    Check("barrier.key-on-node", _W, Where.RING, (), "every node's identity could be tried from its peers", ""),
    Check("barrier.old-authority", _W, Where.RING, (), "the authorities that the delivery leaves out, by name", ""),
    # The node, after
    Check("verify.vantages", _N, Where.AFTER, (),
          "every vantage saw something; inconclusive: who is blind, why, and who is left", "open the way"),
    Check("verify.integrity", _N, Where.AFTER, (),
          "SHA-256 of the files in force against the manifest", "find out who else writes"),
    Check("verify.served", _N, Where.AFTER, (),
          "a new handshake with each listener shows the intended leaf, from the worker and through each peer",
          "see docs/verification.md"),
    Check("verify.trusted", _N, Where.AFTER, (),
          "chain and address verify with the vantage's own authorities", "deliver what peers trust"),
    Check("verify.accepted", _N, Where.AFTER, (),
          "the native listener answers CQL after the handshake (TLS 1.3 refuses only then)", "see its message"),
    Check("apply.reload", _W, Where.AFTER, (),
          "what Cassandra said to a reload: evidence, never proof", "look at system.log"),
    Check("apply.drain", _W, Where.AFTER, (),
          "what Cassandra said to a drain: evidence, never proof", "look at system.log"),
    Check("settle.incomplete", _W, Where.AFTER, (),
          "the node was tidied up: intent removed, old generations pruned", "see its message"),
    Check("start.native", _W, Where.AFTER, (), "after a restart: the native port answers", "look at system.log"),
    Check("join.peers", _W, Where.AFTER, (), "after a restart: its peers see the node up", "look at system.log"),
    Check("waiver.used", _W, Where.AFTER, (), "a check did not pass and was waived", "mend what it found"),
    Check("waiver.expired", _W, Where.AFTER, (),
          "a check did not pass, and its waiver was over by then", "have it renewed"),
)
# fmt: on

QUORUM = "plan.quorum."
"""Followed by a keyspace's name: this keyspace may become unavailable (docs/planning.md)."""

EMERGENCY = (
    "node.expired",
    "node.service",
    "ring.node-down",
    "ring.schema-disagreement",
    "ring.observers",
)
"""What cannot hold while expired leaves keep the nodes apart, and holds again when they are renewed: waived by the goal
`renew-expired` until its last node is done, and demanded then (docs/emergency.md)."""

CHECKS = {check.code: check for check in _ALL}


def severity_of(code: str) -> Severity:
    """How much a check weighs. One that is not in the list (of a newer version, say) blocks."""
    if code.startswith(QUORUM):
        return Severity.NEEDS_WAIVER
    return CHECKS[code].severity if code in CHECKS else Severity.BLOCKER


def waivable() -> tuple[str, ...]:
    """The codes that a waiver may name."""
    return tuple(sorted(code for code, check in CHECKS.items() if check.severity is Severity.NEEDS_WAIVER))


def objection_to(codes: Iterable[str]) -> str:
    """Why these codes cannot all be waived, with the list of those that can; empty when they can."""
    wrong = []
    for code in codes:
        if code.startswith(QUORUM):
            continue
        if code not in CHECKS:
            wrong.append(f"{code} is no check")
        elif CHECKS[code].severity is Severity.BLOCKER:
            check = CHECKS[code]
            wrong.append(f"{code} is a blocker ({check.what}), which no waiver lifts: {check.remedy}")
        elif CHECKS[code].severity is Severity.WARNING:
            wrong.append(f"{code} only warns: there is nothing to waive")
    return f"{'; '.join(wrong)}. These may be waived: {', '.join(waivable())}, {QUORUM}KEYSPACE" if wrong else ""

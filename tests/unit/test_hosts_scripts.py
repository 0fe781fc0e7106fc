"""The pure half of `sealring.hosts`: texts for shells, answers of scripts, manifests, findings."""

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealring.errors import ErrorClass, SealringError
from sealring.hosts.facts import Folder, HostFacts, room_findings
from sealring.hosts.manifest import Manifest, Place, make_manifest, names, parse_manifest, sums
from sealring.hosts.privileges import allows_without_password
from sealring.hosts.refusals import refusal, system_refusal
from sealring.hosts.shell import Completed, Feed, assemble, command_line, load_script, run_script
from sealring.models.evidence import Verdict
from sealring.models.node import Generation, Layout, StoreFile

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@settings(max_examples=25)
@given(value=TEXT, arguments=st.lists(TEXT, max_size=4))
def test_a_shell_gets_exactly_what_was_given(value: str, arguments: list[str]) -> None:
    text = assemble('printf "%s\\0" "$value" "$@"', {"value": value}, arguments)
    done = subprocess.run(["/bin/sh", "-s"], input=text.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [value, *arguments]


def test_what_cannot_be_a_script_is_refused() -> None:
    with pytest.raises(ValueError, match="variable"):
        assemble("", {"x; rm": ""}, ())
    with pytest.raises(ValueError, match="NUL"):
        assemble("", {"x": "\0"}, ())


def test_the_command_is_a_constant_for_each_user() -> None:
    assert command_line("") == "/bin/sh -s"
    assert command_line("root") == "sudo -n /bin/sh -s"
    assert command_line("cassandra") == "sudo -n -u cassandra /bin/sh -s"
    for bad in ("-u root", "a b", "x;y", "$(id)"):
        with pytest.raises(ValueError, match="user name"):
            command_line(bad)


@pytest.mark.parametrize(
    "name",
    ["state", "manifest", "adopt", "stage", "flip", "settle", "access", "facts", "may", "service", "status"],
)
def test_every_script_is_portable_shell(name: str) -> None:
    text = assemble(load_script(name), {}, ())
    for shell in (["sh"], ["dash"], ["bash", "--posix"]):
        if shutil.which(shell[0]):
            done = subprocess.run([*shell, "-n"], input=text.encode(), capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, b"")


class Answering:
    """A shell with one answer."""

    address = "10.0.0.1"

    def __init__(self, stdout: str, status: int = 0, stderr: str = "") -> None:
        self.done = Completed(status, stdout, stderr, 0.0)

    async def run(
        self,
        script: str,
        *,
        variables: Mapping[str, str] = {},
        arguments: Sequence[str] = (),
        secret_input: bytes | Feed | None = None,
        timeout: float | None = None,
        become: str = "",
    ) -> Completed:
        return self.done


async def test_the_lines_of_an_answer_are_pairs() -> None:
    assert await run_script(Answering("a=1\nb= x=y\na=\n"), "state") == [("a", "1"), ("b", " x=y"), ("a", "")]


@pytest.mark.parametrize(
    ("answer", "code", "error_class"),
    [
        (Answering("what\n"), "node.script-failed", ErrorClass.ASK),
        (Answering("error=node.busy r9\n", 3), "node.busy", ErrorClass.SKIP),
        (Answering("changed=no\nerror=node.locked /x/lock\n", 3), "node.locked", ErrorClass.RETRY),
        (Answering("error=node.never-heard of\n", 3), "node.script-failed", ErrorClass.ASK),
        (Answering("", 1, "cp: cannot create 'x': Permission denied\n"), "node.permission", ErrorClass.STOP),
        (Answering("", 1, "head: write error: No space left on device\n\n"), "node.disk-full", ErrorClass.STOP),
        (Answering("", 1, "touch: Disk quota exceeded\n"), "node.disk-full", ErrorClass.STOP),
        (Answering("", 1, "mv: Read-only file system"), "node.read-only", ErrorClass.STOP),
        (Answering("", -9), "node.script-failed", ErrorClass.ASK),
    ],
)
async def test_every_failure_has_a_code(answer: Answering, code: str, error_class: ErrorClass) -> None:
    with pytest.raises(SealringError) as caught:
        await run_script(answer, "state")
    assert (caught.value.code, caught.value.error_class, caught.value.node) == (code, error_class, "10.0.0.1")


def test_words_that_are_not_the_systems_are_left_alone() -> None:
    assert system_refusal("all is well", "n") is None
    assert "{" not in refusal("node.drifted", "/etc/x", "n").message


# sudo

LISTING = """Matching Defaults entries for deploy on node:
    env_reset, use_pty

User deploy may run the following commands on node:

Sudoers entry:
    RunAsUsers: root
    Options: authenticate
    Commands:
\t/bin/sh -s
\t/usr/bin/systemctl

Sudoers entry:
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/systemctl start cassandra
\t/usr/bin/systemctl restart *

Sudoers entry:
    RunAsUsers: daemon, bin
    Options: noexec, !authenticate
    Commands:
\tALL
"""  # as sudo 1.9.13 prints it


@pytest.mark.criterion("A7")
@pytest.mark.parametrize(
    ("listing", "command", "allowed"),
    [
        (LISTING, "/usr/bin/systemctl start cassandra", True),
        (LISTING, "/usr/bin/systemctl restart cassandra", True),
        (LISTING, "/usr/bin/systemctl stop cassandra", False),
        (LISTING, "/bin/sh -s", False),
        (
            LISTING.replace("env_reset", "env_reset, !authenticate").replace("authenticate\n", "setenv\n"),
            "/bin/sh -s",
            True,
        ),
        (LISTING.replace("daemon, bin", "ALL"), "/bin/sh -s", True),
        (LISTING + LISTING[LISTING.index("Sudoers") :], "/usr/bin/systemctl start cassandra", True),
        ("", "/bin/sh -s", False),
    ],
)
def test_only_what_needs_no_password_counts_as_allowed(listing: str, command: str, allowed: bool) -> None:
    assert allows_without_password(listing, command) is allowed


# Manifests


def place(*paths: tuple[str, str], layout: Layout = "in-place") -> Place:
    stores = tuple(
        StoreFile(role="keystore" if role == "k" else "truststore", blocks=("server",), path=path, format="PKCS12")
        for role, path in paths
    )
    return Place("/tls", "/state", layout, stores, "cassandra", "cassandra")


GENERATION = Generation(
    id="a" * 64, leaf_sha256="b" * 64, not_after=datetime(2030, 1, 1, tzinfo=UTC), trust=("c" * 64,)
)


def test_truststores_come_first_and_a_file_is_named_once() -> None:
    one = place(("k", "/a/k"), ("t", "/a/t"), ("k", "/a/k"), ("t", "/a/both"), ("k", "/a/both"))
    assert list(one.roles.items()) == [("/a/t", "truststore"), ("/a/k", "keystore"), ("/a/both", "keystore")]


@given(st.lists(st.from_regex(r"(/[a-c]{1,2}){1,3}", fullmatch=True), unique=True, min_size=1, max_size=8))
def test_no_two_stores_share_a_name(paths: list[str]) -> None:
    found = names(place(*(("k", path) for path in paths)), "n")
    assert list(found) == paths
    assert len(set(found.values())) == len(paths)
    assert not any("/" in name for name in found.values())


def test_with_slots_the_names_are_those_of_the_configuration() -> None:
    assert names(place(("k", "/tls/current/k.p12"), layout="slots"), "n") == {"/tls/current/k.p12": "k.p12"}
    for path in ("/tls/current/deep/k.p12", "/etc/k.p12"):
        with pytest.raises(SealringError) as caught:
            names(place(("k", path), layout="slots"), "n")
        assert caught.value.code == "node.layout-unsupported"
        assert path in caught.value.message


def test_a_manifest_survives_its_way_to_the_disk_and_back() -> None:
    one = place(("k", "/a/k"), ("t", "/b/k"))
    files = {"/a/k": b"key", "/b/k": b"trust"}
    manifest = make_manifest(one, GENERATION, files, rollout="r1", address="n")
    assert parse_manifest(manifest.model_dump_json().encode(), "x", "n") == manifest
    assert manifest.generation == GENERATION
    assert type(manifest.generation) is Generation
    assert sums(manifest) == "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in (("0-k", b"trust"), ("1-k", b"key"))
    )
    assert [(file.path, file.mode) for file in manifest.files] == [("/b/k", "0644"), ("/a/k", "0600")]
    with pytest.raises(ValueError, match="stores"):
        make_manifest(one, GENERATION, {"/a/k": b""}, rollout="r1", address="n")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", json.dumps({"id": "x"}).encode(), b"\xff"])
def test_a_damaged_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(SealringError) as caught:
        parse_manifest(data, "/tls/current", "n")
    assert caught.value.code == "node.manifest-damaged"


def test_a_manifest_of_a_later_version_is_read() -> None:
    one = make_manifest(place(("k", "/a/k")), GENERATION, {"/a/k": b"key"}, rollout="r1", address="n")
    later = {**one.model_dump(mode="json"), "colour": "red"}
    assert parse_manifest(json.dumps(later).encode(), "x", "n") == Manifest.model_validate(one.model_dump())


# Room


@pytest.mark.criterion("F5")
@pytest.mark.parametrize(
    ("folder", "bad"),
    [
        (Folder("/tls", 10**9, 1000, 900, False), set()),
        (Folder("/tls", 16 * 1024 * 1024 + 29_999, 1000, 900, False), {"node.disk-space"}),
        (Folder("/tls", 10**9, 1000, 81, False), {"node.inodes"}),
        (Folder("/tls", 10**9, 0, 0, False), set()),
        (Folder("/tls", 10**9, 1000, 900, True), {"node.read-only"}),
    ],
)
def test_too_little_room_is_found_before_it_is_used(folder: Folder, bad: set[str]) -> None:
    facts = HostFacts(0.0, 0.0, (folder,), frozenset({"sha256sum", "base64", "flock", "readlink", "sync"}))
    findings = room_findings(facts, address="n", needed_bytes=10_000, needed_files=3)
    assert {finding.check for finding in findings if finding.verdict is Verdict.FAIL} == bad
    assert all(finding.remedy and "/tls" in finding.message for finding in findings if finding.verdict is Verdict.FAIL)


def test_missing_tools_are_named() -> None:
    facts = HostFacts(0.0, 0.0, (), frozenset({"sha256sum", "base64", "readlink"}))
    (finding,) = room_findings(facts, address="n", needed_bytes=0, needed_files=0)
    assert (finding.verdict, finding.message) == (Verdict.FAIL, "not installed: flock, sync")
    assert shlex.split(finding.remedy)

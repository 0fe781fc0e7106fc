"""Configuration: what is refused, by which name, and that nothing of a wrong value is repeated."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealring.errors import SealringError
from sealring.settings import load_cluster, load_settings, read_cluster

SMALLEST = "name: lab\ncontact_points: [127.0.0.1]\n"


def written(folder: Path, text: str | bytes, name: str = "lab") -> Path:
    file = folder / f"{name}.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def told(file: Path) -> SealringError:
    with pytest.raises(SealringError) as caught:
        read_cluster(file)
    return caught.value


def test_a_name_and_a_contact_point_are_enough(tmp_path: Path) -> None:
    cluster = load_cluster(written(tmp_path, SMALLEST).parent, "lab")
    assert (cluster.ssh.port, cluster.ssh.connect_timeout.seconds, cluster.ssh.command_timeout.seconds) == (22, 30, 300)
    assert cluster.rollout.verification_required
    assert cluster.rollout.rollback_on_failure


@pytest.mark.criterion("A1", "A5")
def test_ports_budgets_and_switches_are_configurable(tmp_path: Path) -> None:
    more = "ssh: {port: 2222, connect_timeout: 5, command_timeout: PT10M}\nrollout: {rollback_on_failure: false}\n"
    cluster = read_cluster(written(tmp_path, SMALLEST + more))
    assert (cluster.ssh.port, cluster.ssh.connect_timeout.seconds, cluster.ssh.command_timeout.seconds) == (
        2222,
        5,
        600,
    )
    assert not cluster.rollout.rollback_on_failure


@pytest.mark.criterion("A2")
def test_paths_of_every_way_count_from_the_file_and_a_password_is_refused_by_its_field(tmp_path: Path) -> None:
    jump = "[{host: b, known_hosts: kh, private_key: k, certificate: c, password_file: p}]"
    more = f"ssh:\n  password_file: p\n  jump: {jump}\n  hosts: {{h: {{password_file: q, jump: {jump}}}}}\n"
    error = told(written(tmp_path, SMALLEST + more))
    assert error.code == "cluster.invalid"
    for field in ("password_file", "jump.0.password_file", "hosts.h.password_file", "hosts.h.jump.0.password_file"):
        assert field in error.message
    ssh = read_cluster(written(tmp_path, SMALLEST + more + "  allow_password: true\n")).ssh
    other = ssh.hosts["h"]
    assert (ssh.password_file, other.password_file) == (tmp_path / "p", tmp_path / "q")
    assert other.jump
    for hop in (*ssh.jump, *other.jump):
        files = (hop.known_hosts, hop.private_key, hop.certificate, hop.password_file)
        assert files == tuple(tmp_path / name for name in ("kh", "k", "c", "p"))


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    vault = "vault: {address: 'https://vault', ca: ca.pem, role_id: r, secret_id_file: secret-id}\n"
    vault += "pki: {vault_role: pki/sign/nodes, ca: trusted.pem}\n"
    cluster = read_cluster(
        written(tmp_path, SMALLEST + "cql: {ca: pki/ca.crt}\nssh: {known_hosts: /etc/known}\n" + vault)
    )
    assert cluster.vault is not None
    assert cluster.pki is not None
    assert cluster.pki.ca == tmp_path / "trusted.pem"
    assert (cluster.vault.ca, cluster.vault.secret_id_file) == (tmp_path / "ca.pem", tmp_path / "secret-id")
    assert cluster.cql.ca == tmp_path / "pki" / "ca.crt"
    assert cluster.ssh.known_hosts == Path("/etc/known")


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        (SMALLEST + "nam: x\n", "cluster.invalid", "nam: unknown key"),
        (SMALLEST + "ssh: {prot: 22}\n", "cluster.invalid", "ssh.prot: unknown key"),
        (SMALLEST + "ssh: {port: 99999}\n", "cluster.invalid", "ssh.port"),
        (SMALLEST + "ssh: {port: hunter2}\n", "cluster.invalid", "ssh.port"),
        (SMALLEST + "ssh: {connect_timeout: -1}\n", "cluster.invalid", "ssh.connect_timeout"),
        (SMALLEST + "ssh: {vault_role: a/sign/b, private_key: k, certificate: c}\n", "cluster.invalid", "vault_role"),
        (SMALLEST + "ssh: {vault_role: a/sign/b}\n", "cluster.invalid", "private_key"),
        (SMALLEST + "ssh: {vault_role: a/sign/b, private_key: k}\n", "cluster.invalid", "section vault"),
        (SMALLEST + "pki: {vault_role: pki/sign/nodes}\n", "cluster.invalid", "section vault"),
        (SMALLEST + "pki: {vault_role: pki/issue/nodes}\n", "cluster.invalid", "pki.vault_role"),  # keys of the vault
        (SMALLEST + "ssh: {vault_ttl: 0.5}\n", "cluster.invalid", "ssh.vault_ttl"),  # the vault reads 0 as its default
        (SMALLEST + "ssh: {vault_role: ../sign/hunter2, private_key: k}\n", "cluster.invalid", "ssh.vault_role"),
        (SMALLEST + "ssh: {vault_role: a/sign/b/hunter2, private_key: k}\n", "cluster.invalid", "ssh.vault_role"),
        (SMALLEST + "service: {nodetool: 'rm -rf /; x'}\n", "cluster.invalid", "service.nodetool"),
        ("name: lab\n", "cluster.invalid", "contact_points"),
        ("name: lab\ncontact_points: []\n", "cluster.invalid", "contact_points"),
        ("name: other\ncontact_points: [x]\n", "cluster.name", "expected lab"),
        ("name: [\n", "cluster.not-yaml", "line 2"),
        ("- a\n", "cluster.not-yaml", "mapping"),
        ("", "cluster.not-yaml", "mapping"),
        (b"\xff\xfe", "cluster.unreadable", "lab.yaml"),
        ("name: lab\n" + "# x\n" * 300_000, "cluster.too-large", "bytes"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_its_value_is_not_repeated(
    tmp_path: Path, text: str | bytes, code: str, named: str
) -> None:
    error = told(written(tmp_path, text))
    assert error.code == code
    assert "lab.yaml" in error.message
    assert named in error.message
    assert "hunter2" not in str(error)


def test_an_unknown_cluster_names_those_that_are_there(tmp_path: Path) -> None:
    written(tmp_path, SMALLEST)
    with pytest.raises(SealringError, match="lab") as caught:
        load_cluster(tmp_path, "prod")
    assert caught.value.code == "cluster.unknown"
    with pytest.raises(SealringError):
        load_cluster(tmp_path, "../lab")


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_makes_anything_but_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = written(tmp_path_factory.getbasetemp(), content)
    try:
        read_cluster(file)
    except SealringError as error:
        assert "lab.yaml" in error.message


def test_settings_come_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sealring.toml"
    file.write_text('clusters = "rings"\ncodec_port = 1234\n')
    monkeypatch.setenv("SEALRING_CONFIG", str(file))
    monkeypatch.setenv("SEALRING_CODEC_PORT", "4321")
    assert (load_settings().clusters, load_settings().codec_port) == (Path("rings"), 4321)
    file.write_text('clusterz = "rings"\n')
    with pytest.raises(SealringError, match="clusterz: unknown key"):
        load_settings()
    file.write_text("clusters = \n")
    with pytest.raises(SealringError, match="TOML"):
        load_settings()
    monkeypatch.setenv("SEALRING_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SealringError, match="SEALRING_CONFIG"):
        load_settings()

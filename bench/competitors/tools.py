"""How each rival is started on a fleet. All get the same files, verify host keys, and start cold."""

import json
import sys
from pathlib import Path

from bench.competitors.environments import program
from bench.fleet import Fleet
from bench.measure import Measured, run_command
from lab.keys import user_name
from lab.spec import SSH_PORT

_HERE = Path(__file__).parent
_FORKS = "32"


def run_bare(fleet: Fleet) -> Measured:
    """A script with asyncssh."""
    return run_command(
        fleet.spec, [sys.executable, "-m", "bench.competitors.bare"], {"BENCH_FLEET": str(describe(fleet))}
    )


def run_pyinfra(fleet: Fleet) -> Measured:
    """pyinfra, as many hosts at once as the bare script."""
    command: list[str | Path] = [program("pyinfra", "pyinfra"), "-y", "--no-wait", "--parallel", _FORKS]
    command += [_HERE / "pyinfra_inventory.py", _HERE / "pyinfra_deploy.py"]
    return run_command(fleet.spec, command, {"BENCH_FLEET": str(describe(fleet))})


def run_ansible(fleet: Fleet) -> Measured:
    """ansible-playbook with 20 forks, pipelining and ControlPersist; its masters are ended and counted."""
    hosts = {
        host["address"]: {"tls": host["tls"], "delivery": host["delivery"]}
        for host in json.loads(describe(fleet).read_text())["hosts"]
    }
    ssh = fleet.spec.ssh
    common = {
        "ansible_user": user_name(),
        "ansible_port": SSH_PORT,
        "ansible_ssh_private_key_file": str(ssh / "deploy"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={ssh / 'known_hosts'}",
    }
    inventory = fleet.spec.root / "inventory.yml"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))  # JSON is YAML
    scratch = fleet.spec.root / "ansible"
    environment = {
        "ANSIBLE_CONFIG": str(_HERE / "ansible.cfg"),
        "ANSIBLE_HOME": str(scratch),
        "ANSIBLE_REMOTE_TEMP": str(scratch / "remote"),
    }
    return run_command(
        fleet.spec, [program("ansible", "ansible-playbook"), "-i", inventory, _HERE / "playbook.yml"], environment
    )


def describe(fleet: Fleet) -> Path:
    """The fleet as a file: how its hosts are reached, where their TLS files are, what is to be brought."""
    ssh = fleet.spec.ssh
    file = fleet.spec.root / "fleet.json"
    hosts = [
        {"address": node.address, "tls": str(node.tls), "delivery": str(fleet.delivery / node.address)}
        for node in fleet.spec.ring
    ]
    about = {"user": user_name(), "port": SSH_PORT, "key": str(ssh / "deploy"), "authorities": str(ssh / "known_hosts")}
    file.write_text(json.dumps({**about, "known_hosts": str(fleet.known_hosts), "hosts": hosts}))
    return file

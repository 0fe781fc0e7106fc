"""The fleet as pyinfra's inventory. Host keys are verified as everywhere; paramiko knows no host certificates."""

import json
import os
from pathlib import Path

_fleet = json.loads(Path(os.environ["BENCH_FLEET"]).read_text())

hosts = [
    (
        host["address"],
        {
            "ssh_port": _fleet["port"],
            "ssh_user": _fleet["user"],
            "ssh_key": _fleet["key"],
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "ssh_known_hosts_file": _fleet["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "tls": host["tls"],
            "delivery": host["delivery"],
        },
    )
    for host in _fleet["hosts"]
]

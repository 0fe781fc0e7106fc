"""sealring itself in the lab: its files for this ring, and `sealring up` as a process of the lab."""

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from lab import state
from lab.authority import Authority, client_identity
from lab.keys import user_name
from lab.spec import CODEC_ABOVE, SSH_PORT, UI_ABOVE, LabSpec
from sealring.errors import refuse

ROLE = "engine"
READY = "Temporal UI"  # what `sealring up` prints when all of it runs
START_SECONDS = 180.0
STOP_SECONDS = 40.0  # longer than the workers' own grace
_POLL_SECONDS = 0.05


def configure_engine(spec: LabSpec) -> Path:
    """Write cluster file and settings for this ring; returns the settings file, for SEALRING_CONFIG."""
    client = client_identity(spec, Authority.open(spec.authority))
    cluster = {
        "name": "lab",
        "contact_points": [node.address for node in spec.ring[:2]],
        "ssh": {
            "user": user_name(),
            "port": SSH_PORT,
            "known_hosts": str(spec.ssh / "known_hosts"),
            "private_key": str(spec.ssh / "deploy"),
            "certificate": str(spec.ssh / "deploy-cert.pub"),
        },
        "service": {"sudo": "never"},  # the nodes' own systemctl obeys the user who runs the lab
        "cql": {
            "ca": str(client / "ca.crt"),
            "certificate": str(client / "tls.crt"),
            "private_key": str(client / "tls.key"),
        },
    }
    spec.cluster_file.parent.mkdir(parents=True, exist_ok=True)
    spec.cluster_file.write_text(yaml.safe_dump(cluster, sort_keys=False))
    settings = spec.root / "sealring.toml"
    port = spec.temporal_port
    settings.write_text(
        f'temporal_address = "127.0.0.1:{port}"\n'
        f'temporal_ui = "http://127.0.0.1:{port + UI_ABOVE}"\n'
        f"codec_port = {port + CODEC_ABOVE}\n"
        f'clusters = "{spec.cluster_file.parent}"\n'
        f'state = "{spec.root / "engine"}"\n'
    )
    return settings


def start_engine(spec: LabSpec) -> None:
    """Start `sealring up`; returns when it is ready.

    Raises:
        SealringError: `lab.engine-failed`, with its last words.
    """
    settings = configure_engine(spec)
    log = spec.root / "engine.log"
    log.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "sealring"), "up"],
            env=os.environ | {"SEALRING_CONFIG": str(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    state.record(spec.root, ROLE, process.pid)
    end = time.monotonic() + START_SECONDS
    while READY not in (words := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > end:
            state.stop(spec.root, ROLE, STOP_SECONDS)
            last = (words.strip().splitlines() or ["it said nothing"])[-1]
            raise refuse("lab.engine-failed", f"`sealring up` is not ready; its last words: {last}", f"read {log}")
        time.sleep(_POLL_SECONDS)

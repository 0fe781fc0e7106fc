"""The bare script: what a good engineer writes for this one job with asyncssh. `python -m bench.competitors.bare …`

One connection and one command a host, 32 hosts in flight; files and digests go as a tar over stdin. It knows nothing of
clusters, resumes nothing, proves nothing beyond the digests: the floor that an engine is measured against.
"""

import argparse
import asyncio
import io
import shlex
import sys
import tarfile
from pathlib import Path

import asyncssh

IN_FLIGHT = 32
SCRIPT = (Path(__file__).parent / "deliver.sh").read_text()


def main() -> None:
    """Deliver to every host of the inventory; exit code 1 when one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inventory", type=Path, required=True, help="lines: address, folder of the TLS files")
    parser.add_argument("--delivery", type=Path, required=True, help="<address>/<files and SHA256SUMS>")
    parser.add_argument("--ssh", type=Path, required=True, help="folder with known_hosts, deploy, deploy-cert.pub")
    parser.add_argument("--user", required=True)
    parser.add_argument("--port", type=int, required=True)
    sys.exit(asyncio.run(deliver_all(parser.parse_args())))


async def deliver_all(options: argparse.Namespace) -> int:
    """All hosts, IN_FLIGHT at once."""
    room = asyncio.Semaphore(IN_FLIGHT)
    how = asyncssh.SSHClientConnectionOptions(
        username=options.user,
        client_keys=[(str(options.ssh / "deploy"), str(options.ssh / "deploy-cert.pub"))],
        known_hosts=asyncssh.read_known_hosts(str(options.ssh / "known_hosts")),  # parsed once
        agent_path=None,
        config=None,
        x11_forwarding=False,
    )

    async def one(address: str, folder: str) -> None:
        async with room, asyncssh.connect(address, options.port, options=how) as connection:
            command = f"sh -c {shlex.quote(SCRIPT)} deliver {shlex.quote(folder)}"
            await connection.run(command, input=packed(options.delivery / address), encoding=None, check=True)

    hosts = [line.split(maxsplit=1) for line in options.inventory.read_text().splitlines()]
    done = await asyncio.gather(*(one(address, folder) for address, folder in hosts), return_exceptions=True)
    failures = [(host[0], error) for host, error in zip(hosts, done, strict=True) if error is not None]
    for address, error in failures:
        print(f"{address}: {error}", file=sys.stderr)
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

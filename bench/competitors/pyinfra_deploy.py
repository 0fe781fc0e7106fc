"""The delivery as a pyinfra deploy: stage, verify on the host, keep the old files, replace by rename, reload."""

import shlex

from pyinfra import host
from pyinfra.operations import files, server

NAMES = ("keystore.p12", "truststore.p12", "node.pem", "ca.pem")

tls = host.data.tls
staged, backup = f"{tls}/.staged", f"{tls}/backup"
quoted = " ".join(NAMES)

files.directory(name="make the staging folder", path=staged, mode="700")
for name in (*NAMES, "SHA256SUMS"):
    files.put(name=f"stage {name}", src=f"{host.data.delivery}/{name}", dest=f"{staged}/{name}", mode="600")
server.shell(
    name="verify, keep and replace",
    commands=[
        f"cd {shlex.quote(staged)} && sync {quoted} && sha256sum --check --quiet SHA256SUMS",
        f"cd {shlex.quote(tls)} && mkdir -p {shlex.quote(backup)} && cp -p {quoted} {shlex.quote(backup)}",
        f"cd {shlex.quote(staged)} && for f in {quoted}; do mv -f $f ../$f || exit 1; done && sync {shlex.quote(tls)}",
    ],
)
server.shell(name="reload", commands=["nodetool reloadssl"])

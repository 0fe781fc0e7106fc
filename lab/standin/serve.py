"""Every node of a lab in one process: services, listeners, and the door through which the nodes' own tools come."""

import asyncio
import os
import resource
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

from lab import state, systemctl
from lab.authority import LOOPBACK
from lab.service_client import Answer
from lab.spec import LabSpec
from lab.standin import nodetool
from lab.standin.node import Node
from lab.standin.process import launcher
from lab.supervisor import Service, Unit, commanded, told_to_end


async def serve(root: Path) -> None:
    """Serve the nodes of the lab at `root` until SIGTERM.

    Every node has a service that is started with this process and restarted when its node dies, as `lab.supervisor`'s.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # four descriptors a node, and a connection each
    spec = state.load_spec(root)
    lifeline, ours = os.pipe()
    cluster: dict[str, Node] = {}
    trusted: dict[tuple[str, str, str], bool] = {}
    cluster |= {each.address: Node(each, cluster, trusted) for each in spec.ring}
    services = {
        node.spec.name: Service(Unit.load(node.spec.home), node.spec.home, launch=launcher(node, lifeline))
        for node in cluster.values()
    }
    over = told_to_end()
    async with AsyncExitStack() as doors:
        for service in services.values():
            await service.start()
            await doors.enter_async_context(commanded(service))
        tools = partial(_answer, {node.spec.name: node for node in cluster.values()}, services)
        await doors.enter_async_context(await asyncio.start_server(tools, LOOPBACK, door(spec)))
        await over.wait()
        await asyncio.gather(*(service.stop() for service in services.values()))
    os.close(ours)


def door(spec: LabSpec) -> int:
    """The port on 127.0.0.1 where the nodes' `nodetool` and `systemctl` are answered, in place of JMX."""
    return spec.ring[0].jmx_port


async def _answer(
    nodes: Mapping[str, Node],
    services: Mapping[str, Service],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One call: a line of words, tab between them; back come exit code, lines of standard error, and the output."""
    with suppress(OSError, ValueError):
        name, tool, *words = (await reader.readline()).decode().rstrip("\n").split("\t")
        if tool == "nodetool":
            answer = nodetool.run(nodes[name], words)
        else:
            answer = await systemctl.run(services[name], words)
        writer.write(_written(answer))
        await writer.drain()
    writer.close()


def _written(answer: Answer) -> bytes:
    complaint = answer.err.splitlines()
    head = f"{answer.code} {len(complaint)} {len(answer.out.splitlines())}"
    return "\n".join((head, *complaint, answer.out)).encode()

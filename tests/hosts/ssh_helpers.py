"""Settings with a change, and the error that a first command ends in."""

import pytest

from sealring.errors import SealringError
from sealring.hosts.ssh import HostPool
from sealring.models.cluster import SshSettings


def changed(settings: SshSettings, **values: object) -> SshSettings:
    return settings.model_copy(update=values)


async def refused(settings: SshSettings, address: str, script: str = "exit 0") -> SealringError:
    pool = HostPool(settings)
    try:
        async with pool.host(address) as host:
            with pytest.raises(SealringError) as caught:
                await host.run(script)
            return caught.value
    finally:
        await pool.close()

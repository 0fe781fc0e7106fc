"""A worker of pytest-xdist has lab addresses and ports of its own; imported before `lab.spec`, which reads them."""

import os

BASE = int(os.environ.get("SEALRING_LAB_NET", "0"))
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
os.environ["SEALRING_LAB_NET"] = str(BASE + int(WORKER.removeprefix("gw")))

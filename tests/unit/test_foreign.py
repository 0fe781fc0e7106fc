"""What nodetool prints of streams and repairs, in the forms of the classes that `sealring.cassandra.foreign` names."""

import pytest

from sealring.cassandra.foreign import parse_netstats, parse_repair_sessions
from sealring.cassandra.work import parse_work

PLAN = "5a8e7e70-c77b-11f0-8de9-0242ac120002"
QUIET = """Mode: NORMAL
Not sending any streams.
Read Repair Statistics:
Attempted: 0
Mismatch (Blocking): 0
Mismatch (Background): 0
Pool Name                    Active   Pending      Completed   Dropped
Large messages                  n/a         0              4         0
Small messages                  n/a         0           7012         0
Gossip messages                 n/a         0            213         0
"""
STREAMING = f"""Mode: NORMAL
Repair {PLAN}
    /127.0.0.2 (using /10.0.0.2)
        Receiving 1 files, 1234 bytes total. Already received 0 files (0.00%), 0 bytes total (0.00%)
            /data/ks/t-5a8e/nb-1-big-Data.db 100/1234 bytes (8%) received from idx:0/127.0.0.2
Restore replica count 6a8e7e70-c77b-11f0-8de9-0242ac120002
    /127.0.0.3
        Sending 3 files, 99 bytes total. Already sent 1 files (33.33%), 33 bytes total (33.33%)
Read Repair Statistics:
Attempted: 0
"""
SESSIONS = f"""id | state | last activity | coordinator | participants | participants_wp
{PLAN} | REPAIRING | 5 (s)   | /127.0.0.1:7000 | 127.0.0.1,127.0.0.2 | 127.0.0.1:7000,127.0.0.2:7000
6a8e7e70-c77b-11f0-8de9-0242ac120002 | FINALIZED | 9 (s)   | /127.0.0.1:7000 | 127.0.0.1 | 127.0.0.1:7000
"""

pytestmark = pytest.mark.criterion("F6")


@pytest.mark.parametrize("mode", ["NORMAL", "LEAVING", "JOINING"])
def test_streams_are_seen_whatever_the_mode(mode: str) -> None:
    assert parse_netstats(QUIET.replace("NORMAL", mode)) == ()
    assert parse_netstats(STREAMING.replace("NORMAL", mode)) == ("Repair", "Restore replica count")


@pytest.mark.parametrize("operation", ["Bootstrap", "Unbootstrap", "Rebuild", "Relocation", "Bulk Load", "Repair"])
def test_every_operation_is_named(operation: str) -> None:
    assert parse_netstats(STREAMING.replace("Repair 5", f"{operation} 5"))[0] == operation


def test_repair_sessions_that_are_over_do_not_count() -> None:
    assert parse_repair_sessions(SESSIONS) == (f"session {PLAN} (REPAIRING)",)
    assert parse_repair_sessions("no sessions\n") == ()


def test_the_kinds_of_tasks_are_descriptions() -> None:
    row = {"keyspace_name": "k", "table_name": "t", "kind": "anticompaction after repair"}
    assert parse_work({"sstable_tasks": [row]}).repairs == ("anticompaction after repair of k.t",)

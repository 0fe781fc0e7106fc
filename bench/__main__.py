"""`make bench`: parts and many rings; FLEET=N: the whole beside what people use; RING=1: a real ring."""

import argparse
import signal
import sys

from bench.many import measure_many
from bench.parts import measure_parts
from bench.race import race
from bench.ring import measure_ring


def main() -> None:
    """Choose what to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--fleet", type=int, metavar="N", help="deliver to N SSH hosts by sealring and by others")
    parser.add_argument("--no-ansible", action="store_true", help="leave Ansible out: it takes minutes")
    parser.add_argument("--ring", action="store_true", help="measure on a real ring of three nodes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left running
    if options.ring:
        measure_ring()
    elif options.fleet:
        race(options.fleet, left_out=("ansible",) if options.no_ansible else ())
    else:
        measure_parts()
        measure_many()


if __name__ == "__main__":
    main()

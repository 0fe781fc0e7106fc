"""`make bench`: without FLEET the parts one by one, with FLEET the whole beside what people use."""

import argparse

from bench.parts import measure_parts
from bench.race import TOOLS, race


def main() -> None:
    """Choose what to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--fleet", type=int, metavar="N", help="deliver to N SSH hosts by sealring and by others")
    parser.add_argument("--no-ansible", action="store_true", help="leave Ansible out: it takes minutes")
    options = parser.parse_args()
    if options.fleet:
        race(options.fleet, [name for name in TOOLS if name != "ansible" or not options.no_ansible])
    else:
        measure_parts()


if __name__ == "__main__":
    main()

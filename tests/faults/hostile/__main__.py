"""Run all hostile inputs, or some classes, and print the table: ``python tests/faults/hostile [CLASS …] [--every N]``.

Ends with 1 if any input ended in a traceback, hung, took more than 2 GB, or was silently wrong.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads is not to be forked
TESTS = Path(__file__).resolve().parents[2]
sys.path[0:1] = [str(TESTS), str(TESTS.parent)]

import torch  # noqa: E402, F401  once, for all the processes
from faults.hostile import runner  # noqa: E402


def main() -> int:
    """Run what the command line names and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="*", help=f"of {', '.join(runner.class_names())}; all unless given")
    parser.add_argument("--every", type=int, default=1, help="run every so many-th case only")
    asked = parser.parse_args()
    counts = {name: runner.run_class(name, asked.every) for name in asked.classes or runner.class_names()}
    faults = [fault for count in counts.values() for fault in count.faults]
    print("\n".join((*faults, *runner.table(counts))))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

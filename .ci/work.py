#!/usr/bin/env python3
"""Instructions grow with the input: runs each work of tests/linear.rs under valgrind.

    work.py TEST_BINARY [NAME...]

What a work of one size, of twice and of four times it takes, in instructions: where work grows with
the input, the second step is twice the first.
"""

import os
import re
import subprocess
import sys

SIZE = 8 * 1024
# Buffers double when they are full, so the steps are not quite even.
MOST = 2.3


def instructions(binary: str, name: str, size: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, "one", "--exact"]
    environment = {**os.environ, "WORK": name, "WORK_SIZE": str(size)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def names(binary: str) -> list[str]:
    environment = {**os.environ, "WORK": "list"}
    command = [binary, "one", "--exact", "--nocapture"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return re.findall(r"^work (\S+)$", done.stdout, re.M)


def main() -> int:
    binary = sys.argv[1]
    known = names(binary)
    assert known, "no works"
    failed = 0
    for name in sys.argv[2:] or known:
        one, two, four = (instructions(binary, name, SIZE * times) for times in (1, 2, 4))
        ratio = (four - two) / (two - one)
        print(f"{name:28} {(two - one) / SIZE:9.1f} instructions an octet, then {ratio:.2f} times as many", flush=True)
        failed += ratio > MOST
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

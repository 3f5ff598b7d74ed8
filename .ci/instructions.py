#!/usr/bin/env python3
"""Counts the instructions of fixed workloads and compares them with what was recorded.

    instructions.py docs/instructions.txt SKIPPED            compares
    instructions.py docs/instructions.txt SKIPPED --bless    records

Counts do not depend on how busy the machine is, only on the compiler, the standard library and
the width of the vectors that the processor has under valgrind (AVX2 nearly everywhere):

* with the compiler that is recorded a count may grow or shrink by 3 % (a shrunk one is to be
  recorded, so that it is not lost again);
* with another compiler by 20 %, and SKIPPED is told;
* where the anchor, a scan by the crate memchr, differs, so do the vectors: nothing is compared, and
  SKIPPED is told.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SLACK, OTHER_COMPILER = 0.03, 0.20
ANCHOR = "memchr2-1MiB"
COUNTS = (1, 11)
# A copy by `rep movsb` counts as one instruction an octet: copies with vectors are told apart better.
ENVIRONMENT = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS,-FSRM"}
# What the crate is built with, and how its figures are called.
BUILDS = {"": [], "simd": ["--features", "simd"]}


def features() -> set[str]:
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return next(set(p["features"]) for p in metadata["packages"] if p["name"] == "smtp-checkpoint")


def build(arguments: list[str]) -> str:
    command = ["cargo", "bench", "-p", "smtp-checkpoint", "--bench", "instructions", "--no-run"]
    command += ["--message-format", "json-render-diagnostics", *arguments]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = [json.loads(line) for line in lines]
    return next(
        message["executable"]
        for message in built
        if message.get("executable") and message["target"]["name"] == "instructions"
    )


def count(program: str, workload: str, times: int) -> int:
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
        run = subprocess.run(
            [*command, program, workload, str(times)], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not found:
        sys.exit(f"{workload}: {run.stderr}")
    return int(found.group(1))


def measure() -> dict[str, int]:
    figures = {}
    known = features()
    for build_name, arguments in BUILDS.items():
        if build_name and build_name not in known:
            continue
        program = build(arguments)
        listed = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout
        for workload in listed.split():
            once, often = (count(program, workload, times) for times in COUNTS)
            name = f"{workload}+{build_name}" if build_name else workload
            figures[name] = (often - once) // (COUNTS[1] - COUNTS[0])
    return figures


def compiler() -> str:
    return subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


HEAD = """\
# Instructions of one run of each workload of benches/instructions.rs, counted by valgrind.
# Compared by `.ci/run instructions`, written by `.ci/run instructions-bless`.
"""


def read(path: pathlib.Path) -> tuple[str, dict[str, int]]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    recorded_with, *figures = lines
    return recorded_with, {name: int(number) for name, number in map(str.split, figures)}


def main() -> int:
    path, skipped = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    here, now = compiler(), measure()
    if "--bless" in sys.argv:
        rows = "".join(f"{name:32} {number:>10}\n" for name, number in now.items())
        path.write_text(f"{HEAD}{here}\n{rows}")
        return 0
    recorded_with, then = read(path)
    if abs(now[ANCHOR] / then[ANCHOR] - 1) > SLACK:
        text = f"instructions: the processor's vectors differ ({ANCHOR}: {then[ANCHOR]}, here {now[ANCHOR]})"
        print(f"skipped: {text}")
        skipped.open("a").write(text + "\n")
        return 0
    slack = SLACK
    if here != recorded_with:
        slack = OTHER_COMPILER
        text = f"instructions: compared with {slack:.0%} of slack only: recorded with {recorded_with}, this is {here}"
        print(text)
        skipped.open("a").write(text + "\n")
    faults = [f"{name}: not measured any more" for name in then.keys() - now.keys()]
    for name, number in now.items():
        if name not in then:
            faults.append(f"{name}: {number}, not recorded")
            continue
        change = number / then[name] - 1
        print(f"{name:32} {then[name]:>10} {number:>10} {change:+7.1%}")
        if abs(change) > slack:
            faults.append(f"{name}: {then[name]} instructions recorded, {number} now: {change:+.1%}")
    if faults:
        print("\n".join(["", *faults, "where this is meant: .ci/run instructions-bless"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

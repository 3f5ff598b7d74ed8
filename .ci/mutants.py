#!/usr/bin/env python3
"""Mutation testing of the modules that everything stands on.

    mutants.py DIRECTORY [--own] [--again] [GROUP...]

DIRECTORY keeps the tree with the mutants, its build and the results. --own asks only the module's
own unit tests; --again tests only what no test noticed the last time.

A mutant that no test notices must stand in `.ci/mutants-excused.txt`, with the reason why it may
live; one that stands there and is noticed fails too.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

import mutants_planted
from mutants_planted import Mutant

EXCUSED = pathlib.Path(".ci/mutants-excused.txt")
# Of address space, in octets, for each test: a mutant that loops must not eat the machine.
MEMORY = 2 << 30
# Of processor time, in seconds, beyond five times that of the test without a mutant.
PATIENCE = 3

# One test after the other; and what a random input has shown of one mutant is not kept for the next.
ENVIRONMENT = {"RUST_TEST_THREADS": "1", "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true"}

# Groups: name, files, and the unit tests that are asked first. Those of `dot` try every short
# message, so they are optimized and stand alone.
GROUPS = {
    "offset": ("src/offset.rs", "offset::"),
    "transid": ("src/transid.rs", "transid::"),
    "line": ("src/line.rs", "line::"),
    "checkpoint": ("src/checkpoint/*.rs", "checkpoint::"),
    "rdlv": ("src/rdlv/*.rs", "rdlv::"),
    "server-state": ("src/server/state.rs", "server::"),
    "client-state": ("src/client/state.rs", "client::"),
    "dot": ("src/dot/*.rs", "dot::"),
}
OPTIMIZED = ["dot"]
# So many of these at a time.
BATCH = 40
# What takes a closure or makes one: a closure is another type in every copy of a function, and makes
# copies of the functions that it is given to. Where those hold mutants too, the copies multiply: so
# many at most.
SPREADS = re.compile(r"\bfn \w+<(?!const)|\bimpl Fn|[(=]\s*(?:move )?\|[^|]*\|\s*[\w({]|\|\|\|")
COPIES = 100

# Integration tests that are asked next, in this order. Left out are runs of whole systems, which
# would notice too, but take long.
TESTS = [
    "client_dialogues",
    "client_rdlv",
    "corpus",
    "edges_client",
    "edges_server",
    "recipient_limit",
    "refusals",
    "superseded",
    "states",
    "rdlv_server --skip every_interleaving",
    "detached --skip every_way",
]
TESTS_OF_OPTIMIZED = ["dot", "corpus", "edges_server", "states"]


def cargo(tests: list[str]) -> list[str]:
    files = [f"--test={test.split()[0]}" for test in tests]
    return ["test", "--no-run", "-p", "smtp-checkpoint", "--all-features", "--lib", *files]


def mirror(tree: pathlib.Path, opt_level: int) -> None:
    """Brings `tree` to what stands here; unchanged files keep their time, so little is rebuilt."""
    level = f"\n[profile.test.package.smtp-checkpoint]\nopt-level = {opt_level}\n".encode()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    names = {name for name in listed.split("\0") if name and pathlib.Path(name).is_file()}
    for name in names:
        source, copy = pathlib.Path(name), tree / name
        text = source.read_bytes() + (level if name == "Cargo.toml" else b"")
        if not copy.is_file() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
    for path in tree.rglob("*"):
        if path.is_file() and str(path.relative_to(tree)) not in names:
            path.unlink()


def batches(mutants: list[Mutant]) -> list[list[Mutant]]:
    """The mutants in lots that can be built together."""
    spreading: dict[tuple[str, tuple[int, int] | None], list[Mutant]] = {}
    others: list[Mutant] = []
    for mutant in mutants:
        start, end = mutant.function or (0, 0)
        if SPREADS.search(pathlib.Path(mutant.file).read_text()[start:end]):
            spreading.setdefault((mutant.file, mutant.function), []).append(mutant)
        else:
            others.append(mutant)
    lots: list[list[Mutant]] = []
    copies: list[int] = []
    for members in sorted(spreading.values(), key=len, reverse=True):
        more = len(members) + 1
        for number, lot in enumerate(lots):
            if copies[number] * more <= COPIES and len(lot) + len(members) <= BATCH:
                lot += members
                copies[number] *= more
                break
        else:
            lots.append(members)
            copies.append(more)
    for lot in lots:
        taken = max(0, BATCH - len(lot))
        lot += others[:taken]
        del others[:taken]
    return lots + [others[start : start + BATCH] for start in range(0, len(others), BATCH)]


class Test:
    """A test binary, or some of its tests."""

    def __init__(self, binary: str, *arguments: str):
        self.binary = binary
        self.arguments = arguments
        self.seconds = 0.0

    def __str__(self) -> str:
        return " ".join([self.binary, *self.arguments])

    def run(self, tree: pathlib.Path, binaries: dict[str, str], number: int) -> str:
        """`passed`, `noticed` or `timeout`."""
        limit = int(PATIENCE + 5 * self.seconds) if number else 600

        def bounds() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        process = subprocess.Popen(
            [binaries[self.binary], *self.arguments],
            cwd=tree, text=True, errors="replace", preexec_fn=bounds,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT, "MUTANT": str(number)},
        )  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            if line.startswith("test ") and line.endswith("... FAILED\n"):
                process.kill()
                process.wait()
                return "noticed"
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        spent = usage.ru_utime + usage.ru_stime
        if process.returncode == 0:
            if not number:
                self.seconds = spent
            return "passed"
        return "timeout" if spent >= limit else "noticed"


def judge(
    tree: pathlib.Path, binaries: dict[str, str], tests: list[Test], number: int
) -> tuple[str, str]:
    """What became of a mutant, and by which test."""
    for test in tests:
        outcome = test.run(tree, binaries, number)
        if outcome != "passed":
            return outcome, str(test)
    return "missed", ""


def examine(groups: dict[str, list[Mutant]], directory: pathlib.Path) -> dict[str, dict[str, str]]:
    """What became of each group's mutants, by name."""
    tree = directory / "tree"
    optimized = all(group in OPTIMIZED for group in groups)
    opt_level = 1 if optimized else 0
    mirror(tree, opt_level)
    others = TESTS_OF_OPTIMIZED if optimized else TESTS
    own = "--own" in sys.argv
    others = [] if own else others
    build = lambda tests: mutants_planted.build(tree, cargo(tests))
    mutants = [mutant for group in groups.values() for mutant in group]
    originals = {mutant.file: (tree / mutant.file).read_text() for mutant in mutants}
    check = ["check", "-p", "smtp-checkpoint", "--all-features", "--lib"]
    unviable, alone = mutants_planted.plant(tree, mutants, check)
    found = build(others)
    if found.errors:
        sys.exit(str(found.errors))
    rest = [] if own else [Test("lib", "--skip", "dot::")]
    rest += [Test(*test.split()) for test in others]
    tests = {group: [Test("lib", GROUPS[group][1]), *rest] for group in groups}
    for test in [*rest, *(first for first, *_ in tests.values())]:
        if test.run(tree, found.binaries, 0) != "passed":
            sys.exit(f"fails without a mutant: {test}")
        print(f"{test}: {test.seconds:.2f} s", flush=True)
    results: dict[str, dict[str, str]] = {group: {} for group in groups}

    def tell(group: str, mutant: Mutant, outcome: str, test: str) -> None:
        results[group][mutant.name] = outcome
        if outcome != "noticed":
            print(f"{outcome}: {mutant.name} {test}", flush=True)

    for group, members in groups.items():
        started = time.monotonic()
        planted = [mutant for mutant in members if mutant not in unviable and mutant not in alone]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            work = lambda mutant: judge(tree, found.binaries, tests[group], mutant.number)
            for mutant, judged in zip(planted, pool.map(work, planted)):
                tell(group, mutant, *judged)
        for mutant in unviable:
            if mutant in members:
                tell(group, mutant, "unviable", "")
        print(f"{group}: {time.monotonic() - started:.0f} s", flush=True)
    for name, text in originals.items() if alone else ():
        (tree / name).write_text(text)
    for mutant in alone:
        group = next(name for name, members in groups.items() if mutant in members)
        path, text = tree / mutant.file, originals[mutant.file]
        path.write_text(mutants_planted.mutated(text, mutant, (0, len(text))))
        outcome, test = "missed", ""
        for some in ([], others):
            if outcome != "missed":
                break
            single = build(some)
            if single.errors:
                outcome = "unviable"
            else:
                asked = [test for test in tests[group] if test.binary in single.binaries]
                outcome, test = judge(tree, single.binaries, asked, 1)
        tell(group, mutant, outcome, test)
        path.write_text(text)
    return results


def excused() -> dict[str, str]:
    """Mutant to reason; a mutant begins its line, the reason stands below it, indented."""
    reasons: dict[str, str] = {}
    mutant = ""
    for line in EXCUSED.read_text().splitlines() if EXCUSED.exists() else []:
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            mutant = line.strip()
            reasons[mutant] = ""
        elif mutant:
            reasons[mutant] = f"{reasons[mutant]} {line.strip()}".strip()
    return reasons


def main() -> int:
    directory = pathlib.Path(sys.argv[1]).resolve()
    groups = [name for name in sys.argv[2:] if not name.startswith("--")] or list(GROUPS)
    for group in groups:
        if group not in GROUPS:
            sys.exit(f"no group {group}: {' '.join(GROUPS)}")
    (directory / "tree").mkdir(parents=True, exist_ok=True)
    os.environ.update(
        CARGO_TARGET_DIR=str(directory / "build"), CARGO_PROFILE_TEST_DEBUG="0", RUST_BACKTRACE="0"
    )
    reasons = excused()
    failed = [f"no reason given: {mutant}" for mutant, reason in reasons.items() if not reason]
    files = {group: GROUPS[group][0] for group in groups}
    members = mutants_planted.listed(pathlib.Path("."), files)
    kept = directory / "results.json"
    before = json.loads(kept.read_text()) if kept.exists() else {}
    if "--again" in sys.argv:
        settled = {"noticed", "timeout", "unviable"}
        again = {
            group: [m for m in mutants if before.get(group, {}).get(m.name) not in settled]
            for group, mutants in members.items()
        }
    else:
        before = {group: known for group, known in before.items() if group not in groups}
        again = members
    campaigns = [{group: again[group] for group in groups if group not in OPTIMIZED}]
    for group in set(groups).intersection(OPTIMIZED):
        campaigns += [{group: batch} for batch in batches(again[group])]
    for campaign in filter(lambda groups: any(groups.values()), campaigns):
        for group, outcomes in examine(campaign, directory).items():
            names = {mutant.name for mutant in members[group]}
            known = {**before.get(group, {}), **outcomes}
            before[group] = {name: known[name] for name in known if name in names}
        # A run that is broken off goes on with --again.
        kept.write_text(json.dumps(before, indent=1))
    kinds = ["noticed", "timeout", "unviable"]
    summary = ["".join(f"{head:>14}" for head in ["", "mutants", *kinds, "excused", "alive"])]
    for group in groups:
        outcomes = before[group]
        missed = [name for name, outcome in outcomes.items() if outcome == "missed"]
        alive = [name for name in missed if name not in reasons]
        failed += [f"not noticed: {name}" for name in alive]
        noticed = [name for name in outcomes if name not in missed]
        failed += [f"excused, but noticed: {name}" for name in noticed if name in reasons]
        numbers = [list(outcomes.values()).count(kind) for kind in kinds]
        row = [len(outcomes), *numbers, len(missed) - len(alive), len(alive)]
        summary.append(f"{group:>14}" + "".join(f"{number:14}" for number in row))
        reasons = {name: reason for name, reason in reasons.items() if name not in outcomes}
    if len(groups) == len(GROUPS):
        failed += [f"excused, but no such mutant: {name}" for name in reasons]
    print(*failed, *summary, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Passes on the lines `file:number:text` that stand in code: not in tests, comments or docs.

Tests are what stands below the first `#[cfg(test)]` that begins a line, and files of their own.
"""

import pathlib
import re
import sys


TESTS = re.compile(r"(pub\((super|crate)\) )?mod tests \{")


def is_test_file(path: str) -> bool:
    name = pathlib.Path(path).name
    return name.endswith("tests.rs") or name == "naive.rs"


def first_test_line(path: str) -> float:
    lines = pathlib.Path(path).read_text().splitlines()
    for number, line in enumerate(lines, 1):
        follows = lines[number : number + 2]
        if line == "#[cfg(test)]" and any(TESTS.match(text) for text in follows):
            return number
    return float("inf")


def is_code(hit: str) -> bool:
    path, number, text = hit.split(":", 2)
    if is_test_file(path) or int(number) >= first_test_line(path):
        return False
    if re.match(r"\s*//", text):
        return False
    before = pathlib.Path(path).read_text().splitlines()[int(number) - 2]
    return before.strip() != "#[cfg(test)]"


def main() -> int:
    hits = [hit for hit in sys.stdin.read().splitlines() if is_code(hit)]
    print("\n".join(hits), end="\n" if hits else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())

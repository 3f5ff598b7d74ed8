#!/usr/bin/env python3
"""What compilers do not see in the files of the repository.

    text.py "TEST COMMAND"
"""

import pathlib
import re
import subprocess
import sys

# Split, so that this file does not find itself.
HOME = "/(?:" + "work|root|home|Users" + ")/"
PLACES = re.compile(
    rf"(?<![\w.)])(?:{HOME}\w|/tmp/" + r"bash_)"
    r"|(?:crates|deb|pypi|npmjs|registry)[\w.-]*\.(?:internal|local|corp)\b"
    r"|(?:static|index)\." + r"crates\.io|registry\." + r"npmjs\.org|files\." + r"pythonhosted"
    r"|deb\." + r"debian\.org"
)
UNDONE = re.compile(r"\b(?:todo|unimplemented)!|#\[ignore|\.unwrap\(\)|\.expect\(|\bpanic!")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")

faults: list[str] = []


def files(*patterns: str) -> list[pathlib.Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        check=True, stdout=subprocess.PIPE, text=True,
    )
    return [path for path in map(pathlib.Path, listed.stdout.splitlines()) if path.is_file()]


def places() -> None:
    for path in files():
        if path.parts[:2] == ("fuzz", "seeds"):
            continue
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), 1):
            if PLACES.search(line):
                faults.append(f"{path}:{number}: a place or host of one machine: {line.strip()}")


def undone() -> None:
    hits = []
    for path in files("src/*.rs"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if UNDONE.search(line):
                hits.append(f"{path}:{number}:{line}")
    checked = subprocess.run(
        [sys.executable, ".ci/outside_tests.py"],
        input="\n".join(hits), check=True, stdout=subprocess.PIPE, text=True,
    )
    faults.extend(f"left undone, or panics: {hit}" for hit in checked.stdout.splitlines())
    for path in files("tests/*.rs", "examples/*.rs"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\b(?:todo|unimplemented)!|#\[ignore", line):
                faults.append(f"left undone: {path}:{number}: {line.strip()}")


def anchors(path: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+\s+(.*?)\s*$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def links() -> None:
    for path in files("*.md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
        for link in LINK.finditer(text):
            goal = link.group(1) or link.group(2)
            if re.match(r"[a-z]+:", goal):
                continue
            file, _, anchor = goal.partition("#")
            to = (path.parent / file) if file else path
            if not to.exists():
                faults.append(f"{path}: link to {goal}, which is not there")
            elif anchor and to.suffix == ".md" and anchor not in anchors(to):
                faults.append(f"{path}: link to {goal}, which has no such heading")


def readme(test: str) -> None:
    text = pathlib.Path("README.md").read_text()
    # A README that names no test command says nothing wrong.
    if "cargo test" in text and test not in text:
        faults.append(f"README.md does not name the test command: {test}")


def main() -> int:
    places()
    undone()
    links()
    readme(sys.argv[1])
    print("\n".join(faults) if faults else "nothing found")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Checks the licences and sources of all dependencies against deny.toml.

    dependencies.py deny.toml Cargo.toml

An exception of deny.toml holds only where no published crate is built with the crate it names.
"""

import json
import re
import subprocess
import sys
import tomllib


def allowed(expression: str, licences: set[str]) -> bool:
    """Whether the SPDX expression can be fulfilled with these licences."""
    # An old spelling of OR.
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)
    words = []
    for token in tokens:
        if token in ("AND", "OR"):
            words.append(token.lower())
        elif token in ("(", ")"):
            words.append(token)
        elif token == "WITH":
            words.append("WITH")
        elif words and words[-1] == "WITH":
            words.pop()
            licence = f"{tokens[tokens.index(token) - 2]} WITH {token}"
            words[-1] = str(licence in licences)
        else:
            words.append(str(token in licences))
    # Nothing is left in it but True, False, and, or and brackets.
    return bool(words) and eval(" ".join(words))  # noqa: S307


def shipped(metadata: dict) -> set[str]:
    """What the published crates of the workspace are built with, by package id."""
    members = set(metadata["workspace_members"])
    published = [
        package["id"]
        for package in metadata["packages"]
        if package["id"] in members and package["publish"] != []
    ]
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found = set()
    while published:
        package = published.pop()
        if package in found:
            continue
        found.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                published.append(dependency["pkg"])
    return found


def main() -> int:
    rules = tomllib.load(open(sys.argv[1], "rb"))
    licences = set(rules["licenses"]["allow"])
    exceptions = {rule["crate"]: set(rule["allow"]) for rule in rules["licenses"].get("exceptions", [])}
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    command += ["--manifest-path", sys.argv[2]]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    strict = shipped(metadata)
    faults, count = [], 0
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if package["source"] is None:
            continue
        count += 1
        if package["source"] != "registry+https://github.com/rust-lang/crates.io-index":
            faults.append(f"{name}: from {package['source']}")
        excepted = set() if package["id"] in strict else exceptions.get(package["name"], set())
        if not allowed(package["license"] or "", licences | excepted):
            faults.append(f"{name}: licence {package['license']}")
    print("\n".join(faults) if faults else f"{count} dependencies of {sys.argv[2]}: all allowed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

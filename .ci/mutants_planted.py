"""A tree with all mutants planted in it at once, one of them chosen when a test begins.

cargo-mutants says what the mutants are: place, and the text that takes its place. It would build
each for itself, which takes hours; here each function holds one copy of its body for each of its
mutants, and the variable MUTANT names the one to be.
"""

import dataclasses
import json
import pathlib
import re
import subprocess

CHOOSER = """
/// Which mutant this is.
pub(crate) fn mutant() -> u32 {
    static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("MUTANT").map_or(0, |name| name.parse().unwrap_or(0)))
}
"""


@dataclasses.dataclass
class Mutant:
    number: int
    file: str
    name: str  # outlives an edit elsewhere
    span: tuple[int, int]  # octets of the file's text
    text: str
    function: tuple[int, int] | None
    function_name: str
    returns: str


def listed(tree: pathlib.Path, groups: dict[str, str]) -> dict[str, list[Mutant]]:
    """All mutants of each group's files."""
    found = {}
    number = 0
    for group, files in groups.items():
        command = ["cargo", "mutants", "--list", "--json", f"--file={files}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tree)
        members = [read(tree, entry) for entry in json.loads(output.stdout)]
        members.sort(key=lambda mutant: (mutant.file, mutant.span, mutant.name))
        by_name: dict[str, list[Mutant]] = {}
        for mutant in members:
            number += 1
            mutant.number = number
            by_name.setdefault(mutant.name, []).append(mutant)
        for same in by_name.values():
            for place, mutant in enumerate(same, 1):
                mutant.name += f" [{place} of {len(same)}]" if len(same) > 1 else ""
        found[group] = members
    return found


def read(tree: pathlib.Path, entry: dict) -> Mutant:
    """A mutant as cargo-mutants gives it."""
    text = (tree / entry["file"]).read_text()
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    span = lambda area: tuple(
        lines[area[end]["line"] - 1] + area[end]["column"] - 1 for end in ("start", "end")
    )
    function = entry["function"] or {}
    return Mutant(
        number=0,
        file=entry["file"],
        name=re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", entry["name"]),
        span=span(entry["span"]),
        text=entry["replacement"],
        function=span(function["span"]) if function else None,
        function_name=function.get("function_name", ""),
        returns=function.get("return_type", ""),
    )


def mutated(text: str, mutant: Mutant, area: tuple[int, int]) -> str:
    """The part `area` of a file, with this mutant."""
    return f"{text[area[0]:mutant.span[0]]}{mutant.text} {text[mutant.span[1]:area[1]]}"


def body_of(text: str, function: tuple[int, int]) -> int:
    """Where the body begins, behind its brace."""
    code = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\bfn\b|[(){\[\]]', re.S)
    seen, depth = False, 0
    for match in code.finditer(text, *function):
        seen = seen or match.group() == "fn"
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(match.group(), 0)
        if match.group() == "{" and seen and depth == 0:
            return match.end()
    raise ValueError(text[function[0] : function[1]])


class Planted:
    """The text of one file, with its mutants."""

    def __init__(self, text: str, mutants: list[Mutant]):
        # Text, and the mutant that it is or 0.
        self.chunks: list[tuple[str, int]] = []
        self.text = text
        functions: dict[tuple[int, int], list[Mutant]] = {}
        for mutant in mutants:
            assert mutant.function
            functions.setdefault(mutant.function, []).append(mutant)
        self.functions = functions
        self.render((0, len(text)))

    def render(self, area: tuple[int, int]) -> None:
        """The text of an area, its outermost functions with their mutants."""
        at = area[0]
        for function in sorted(self.functions, key=lambda span: (span[0], -span[1])):
            if function[0] < at or function[1] > area[1] or function == area:
                continue
            self.chunks.append((self.text[at : function[0]], 0))
            self.plant(function)
            at = function[1]
        self.chunks.append((self.text[at : area[1]], 0))

    def plant(self, function: tuple[int, int]) -> None:
        body = (body_of(self.text, function), function[1] - 1)
        head = self.text[function[0] : body[0]]
        head = re.sub(r"\bconst\s+(?=fn\b)", "", head)
        self.chunks.append((f"{head}\nmatch crate::mutant() {{\n", 0))
        for mutant in self.functions[function]:
            copy = mutated(self.text, mutant, body)
            self.chunks.append((f"{mutant.number} => {{ {copy} }}\n", mutant.number))
        self.chunks.append(("_ => {", 0))
        self.render(body)
        self.chunks.append(("}\n}\n}", 0))

    def write(self, path: pathlib.Path) -> list[tuple[int, int, int]]:
        """First line, last line and number of each mutant."""
        path.write_text("".join(text for text, _ in self.chunks))
        line, places = 1, []
        for text, number in self.chunks:
            lines = text.count("\n")
            if number:
                places.append((line, line + lines - 1, number))
            line += lines
        return places


@dataclasses.dataclass
class Found:
    """What became of a build."""

    binaries: dict[str, str]
    # Primary places of each error, and its text.
    errors: list[tuple[list[tuple[str, int]], str]]


def build(tree: pathlib.Path, arguments: list[str]) -> Found:
    command = ["cargo", *arguments, "--message-format=json"]
    output = subprocess.run(command, capture_output=True, text=True, cwd=tree)
    binaries, errors = {}, []
    for line in output.stdout.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("reason") == "compiler-artifact" and entry.get("executable"):
            target = entry["target"]
            binaries["lib" if "lib" in target["kind"] else target["name"]] = entry["executable"]
        elif entry.get("reason") == "compiler-message" and entry["message"]["level"] == "error":
            message = entry["message"]
            places = []
            for span in message["spans"]:
                # What a macro wrote stands where it was called.
                while span["is_primary"] and span["expansion"]:
                    span = {**span["expansion"]["span"], "is_primary": True}
                if span["is_primary"]:
                    places.append((span["file_name"], span["line_start"]))
            errors.append((places, message["message"]))
    if output.returncode and not errors:
        errors.append(([], output.stderr[-2000:]))
    return Found(binaries, errors)


def plant(
    tree: pathlib.Path, mutants: list[Mutant], check: list[str]
) -> tuple[list[Mutant], list[Mutant]]:
    """Plants what can be planted. Returns what does not compile, and what has to stand alone."""
    texts = {mutant.file: (tree / mutant.file).read_text() for mutant in mutants}
    root = tree / "src/lib.rs"
    # With std, to read the variable; and what is bound to panic is for the tests to notice.
    lints = "#![allow(arithmetic_overflow, unconditional_panic)]\n"
    root.write_text(root.read_text().replace("#![no_std]\n", lints) + CHOOSER)

    def stands_alone(mutant: Mutant) -> bool:
        if not mutant.function or "impl " in mutant.returns:
            return True
        # In the signature, which the bodies share.
        return mutant.span[0] < body_of(texts[mutant.file], mutant.function)

    alone = [mutant for mutant in mutants if stands_alone(mutant)]
    unviable: list[Mutant] = []
    while True:
        apart = {mutant.number for mutant in alone + unviable}
        places = {}
        for name, text in texts.items():
            planted = [m for m in mutants if m.file == name and m.number not in apart]
            places[name] = Planted(text, planted).write(tree / name)
        errors = build(tree, check).errors
        if not errors:
            return unviable, alone
        before = len(unviable) + len(alone)
        for spans, message in errors:
            numbers = {
                number
                for file, line in spans
                for first, last, number in places.get(file, [])
                if first <= line <= last
            }
            # A constant needs this function as it is.
            called = re.search(r"cannot call non-const .*`([\w:<>]+)`", message)
            if called and not numbers:
                name = "::" + "::".join(called[1].split("::")[-2:])
                ends = lambda mutant: f"::{mutant.function_name}".endswith(name)
                alone += [m for m in mutants if ends(m) and m not in alone]
            unviable += [m for m in mutants if m.number in numbers and m not in unviable]
        print(f"{len(errors)} errors, {len(unviable)} do not compile", flush=True)
        if len(unviable) + len(alone) == before:
            raise SystemExit("\n".join(f"{spans} {message}" for spans, message in errors))

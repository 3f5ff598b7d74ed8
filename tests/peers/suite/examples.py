"""The two examples under test: `server`, which takes mail, and `send`, which delivers it."""

import re
import shutil

from .harness import LOOPBACK, ROOT, TARGET, Failed, Process, Skip, canonical, check, equal, once, run, temporary, wait_for

# Set by the command line: where the examples are, and whether to build them.
options = {"directory": TARGET / "debug" / "examples", "build": True}


@once
def takes(name, option):
    """Whether an example has this option."""
    return option.encode() in run([example(name), "--help"]).out


@once
def example(name):
    """The path of an example, built first where cargo is at hand."""
    sources = (ROOT / "examples" / f"{name}.rs", ROOT / "examples" / name / "main.rs")
    built = options["directory"] / name
    if options["build"]:
        if not any(source.is_file() for source in sources):
            raise Skip(f"examples/{name} is not there yet")
        if shutil.which("cargo"):
            result = run(["cargo", "build", "--quiet", "--example", name], 540, cwd=ROOT)
            if result.code:
                raise Failed(f"cargo build --example {name}: {result}")
    if not built.is_file():
        raise Skip(f"examples/{name} is not built")
    return built


class Server:
    """The example server with a store of its own."""

    def __init__(self, *options, within=None):
        self.made = temporary("server", within)
        self.store = self.made / "store"
        self.store.mkdir()
        self.seen = set()
        self.starts = 0
        self.options = options
        self.start()

    def start(self, *options):
        """Starts it, again on the same store and with more options."""
        self.starts += 1
        self.process = Process(
            [example("server"), "--listen", f"{LOOPBACK}:0", "--store", self.store, "--hostname", "server.example.net",
             *self.options, *options],
            self.made / f"log.{self.starts}",
        )
        found = wait_for(lambda: self._address() or not self.process.alive(), 20)
        if not isinstance(found, int):
            raise Failed(f"examples/server did not say where it listens: {self.process.output()[-2000:]}")
        self.port = found
        self.address = f"{LOOPBACK}:{found}"

    def _address(self):
        found = re.search(r"^listening on \S*:(\d+)\s*$", self.process.output(), re.M)
        return int(found[1]) if found else None

    def _new(self):
        box = self.store / "delivered"
        if not box.is_dir():
            return []
        found = [p for p in box.glob("*.eml") if p.name not in self.seen and p.with_suffix(".envelope").is_file()]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def forget(self):
        """What an earlier case left is no message of the next one."""
        self.seen.update(path.name for path in self._new())

    def taken(self, count=1, seconds=10):
        """The messages delivered since the last call: [(octets, Envelope)], exactly so many."""
        def enough():
            found = self._new()
            return found if len(found) >= count else None

        found = wait_for(enough, seconds) if count else self._new()
        if found is None:
            raise Failed(f"{len(self._new())} of {count} messages delivered within {seconds} s: {self.process.output()[-2000:]}")
        check(len(found) == count, f"{len(found)} messages delivered instead of {count}")
        self.seen.update(path.name for path in found)
        return [(path.read_bytes(), Envelope(path.with_suffix(".envelope").read_bytes())) for path in found]

    def stop(self):
        """Ends the server with SIGTERM, which must end it cleanly."""
        code = self.process.stop()
        check(code == 0, f"examples/server ended with {code} on SIGTERM: {self.process.output()[-2000:]}")


class Envelope:
    """The file beside a delivered message: the MAIL line and the accepted RCPT lines, as they came."""

    def __init__(self, octets):
        lines = octets.decode("utf-8").split("\n")
        self.sender, self.parameters = self._read(next((l for l in lines if l.upper().startswith("MAIL FROM:")), None))
        self.recipients = [self._read(line) for line in lines if line.upper().startswith("RCPT TO:")]

    @staticmethod
    def _read(line):
        if line is None:
            raise Failed("an envelope without MAIL")
        found = re.fullmatch(r"(?:MAIL FROM|RCPT TO): ?<(.*?)>((?: \S+)*) *", line, re.I)
        if not found:
            raise Failed(f"an envelope line that cannot be read: {line!r}")
        return found[1], {
            key.upper(): value for key, _, value in (word.partition("=") for word in found[2].split())
        }


def check_taken(server, octets, sender, recipients, mail=None, rcpt=None, absent=()):
    """One message came, with these octets and this envelope.

    `mail` and `rcpt` are parameters that must be there with these values (None: any value).
    """
    (found, envelope), = server.taken(1)
    equal(found, canonical(octets), "delivered octets")
    check_envelope(envelope, sender, recipients, mail, rcpt, absent)


def check_envelope(envelope, sender, recipients, mail=None, rcpt=None, absent=()):
    equal(envelope.sender, sender, "sender in the envelope")
    equal([address for address, _ in envelope.recipients], list(recipients), "recipients in the envelope")
    lines = [(envelope.parameters, mail or {})] + [(given, rcpt or {}) for _, given in envelope.recipients]
    for given, wanted in lines:
        for key, value in wanted.items():
            check(key in given, f"no {key} in the envelope: {given}")
            if value is not None:
                equal(given[key], value, f"{key} in the envelope")
    for key in absent:
        check(key not in envelope.parameters, f"{key} in the envelope")


class Sender:
    """The example client: a message, a journal, and runs of `send` against one address."""

    def __init__(self, octets, recipients=("bob@example.net",), sender="ann@example.org", more=(), within=None):
        self.program = example("send")
        self.made = temporary("send", within)
        self.file = self.made / "message.eml"
        self.file.write_bytes(octets)
        self.journal = self.made / "journal"
        self.recipients, self.sender, self.more = recipients, sender, list(more)

    def command(self, proxy):
        command = [self.program, "--to", proxy.address, "--from", self.sender, "--journal", self.journal, "--trace"]
        for recipient in self.recipients:
            command += ["--rcpt", recipient]
        return [*command, *self.more, self.file]

    def run(self, proxy, seconds=60):
        return run(self.command(proxy), seconds)

    def expect(self, proxy, code, seconds=60):
        result = self.run(proxy, seconds)
        check(result.code == code, f"send: exit {result.code} instead of {code}\n{result}\n{proxy.dialogue()}")
        return result

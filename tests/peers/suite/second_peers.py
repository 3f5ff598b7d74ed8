"""The second implementation as peers: its server as a process, its client here or as a process."""

import json
import os
import pathlib
import queue
import signal
import socket
import sys
import threading

from second import client

from . import install
from .harness import LOOPBACK, Failed, Process, canonical, check, equal, run, temporary

PEERS = pathlib.Path(__file__).resolve().parents[1]
ANN, BOB, CAROL = "ann@example.org", "bob@example.net", "carol@example.net"
PATIENCE = 20  # seconds for what comes at once when nothing is wrong


def _environment():
    place = install.pypi("aiosmtpd==1.4.6", "aiosmtpd")
    return {**os.environ, "PYTHONPATH": f"{PEERS}{os.pathsep}{place}", "PYTHONDONTWRITEBYTECODE": "1"}


# Where syncing costs nothing: here processes are killed, and no power is cut.
MEMORY = next((path for path in ["/dev/shm"] if os.access(path, os.W_OK | os.X_OK)), None)
SMALL = b"Subject: x\r\n\r\n.\r\n..a\r\n\r\n.b\r\nc"


def on_wire(octets):
    """How many octets follow the 354."""
    octets = canonical(octets)
    return len(octets.replace(b"\r\n.", b"\r\n..")) + octets.startswith(b".") + len(b".\r\n")


def on_wire_in_chunks(octets, chunk):
    """How many octets follow the envelope with BDAT."""
    parts = [octets[at:at + chunk] for at in range(0, len(octets), chunk)]
    return sum(len(f"BDAT {len(part)}\r\n") + len(part) for part in parts) + len(" LAST")


class SecondServer:
    """second.server with a store that outlives it."""

    def __init__(self, *options):
        self.made = temporary("second-server", MEMORY)
        self.store = self.made / "store"
        self.options = [str(option) for option in options]
        self.seen = set()
        self.port = 0
        self.start()

    def start(self):
        """Starts it, again on the same store and the same port."""
        self.process = Process(
            [sys.executable, "-m", "second.server", "--store", self.store, "--port", str(self.port), *self.options],
            self.made / "log", env=_environment(), talks=True,
        )
        self.said = queue.SimpleQueue()
        threading.Thread(target=self._hear, args=(self.process.popen.stdout, self.said), daemon=True).start()
        self.port = self.heard("listening")["port"]
        self.address = f"{LOOPBACK}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop(signal.SIGKILL)

    @staticmethod
    def _hear(stream, said):
        for line in stream:
            said.put(json.loads(line))
        said.put({"event": "silence"})

    def heard(self, event):
        """The next such event since the last attempt began; those before it are passed over."""
        while True:
            try:
                told = self.said.get(timeout=PATIENCE)
            except queue.Empty:
                raise Failed(f"the second server did not come to {event!r}\n{self.dialogue()}") from None
            if told["event"] == event:
                return told
            if told["event"] == "silence":
                raise Failed(f"the second server ended before {event!r}\n{self.dialogue()}")

    def tell(self, **what):
        self.process.popen.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.popen.stdin.flush()

    def forget(self):
        """What has happened until now is not heard any more."""
        self.tell(sync=True)
        self.heard("sync")

    def at(self, point, do, after=0):
        self.tell(at=point, do=do, after=after)
        self.heard("armed")

    def verdict(self, every="250 2.0.0 Ok", **replies):
        """The decision that is waited for; a recipient's local part with its reply."""
        self.tell(verdict={"*": every, **{f"{who}@example.net": reply for who, reply in replies.items()}})

    def died(self):
        """Waits for the end that it was told to come to."""
        self.heard("silence")
        self.process.popen.wait(PATIENCE)
        equal(self.process.popen.returncode, -signal.SIGKILL, "how the second server ended")

    def kill(self):
        self.process.popen.send_signal(signal.SIGKILL)
        self.died()

    def dialogue(self):
        return "\n".join(self.process.output().splitlines()[-60:])

    def _new(self, box):
        found = [path for path in (self.store / box).iterdir() if path not in self.seen]
        self.seen.update(found)
        return found

    def taken(self, *messages):
        """Exactly these messages have been delivered since the last call; gives the last one's envelope."""
        found = [path for path in self._new("delivered") if path.suffix == ".eml"]
        equal(len(found), len(messages), "number of delivered messages")
        equal(sorted(path.read_bytes() for path in found), sorted(messages), "delivered octets")
        return json.loads(found[-1].with_suffix(".json").read_text()) if found else None

    def new_messages(self):
        """All messages delivered since the last call, in the order of their octets."""
        return sorted(path.read_bytes() for path in self._new("delivered") if path.suffix == ".eml")

    def reports(self):
        """The DSNs made since the last call, once each has been announced."""
        return [json.loads(path.read_text()) for path in self._new("dsn") if path.suffix == ".json"]


class SecondClient:
    """One message and its state; each `run` is an attempt."""

    def __init__(self, octets, *options, recipients=(BOB,), sender=ANN):
        self.made = temporary("second-client", MEMORY)
        self.octets = octets
        self.dialogue = []
        self.options = ["--state", str(self.made / "state"), "--from", sender, *map(str, options)]
        for recipient in recipients:
            self.options += ["--rcpt", recipient]
        self.message = self.made / "message.eml"
        self.message.write_bytes(octets)

    def _command(self, server, more):
        return ["--to", server.address, *self.options, *map(str, more), str(self.message)]

    def run(self, server, *more, at_cut=None, at_120=None, at_line=lambda line: None, outcome=None):
        """An attempt within this process."""
        def log(*words):
            self.dialogue.append(" ".join(words))
            at_line(self.dialogue[-1])

        server.forget()
        self.dialogue.append("-- attempt")
        options = client.parser().parse_args(self._command(server, more))
        result = client.Attempt(options, at_cut, at_120, log).run()
        if outcome is not None:
            check(result["outcome"] == outcome, f"{result} instead of {outcome}\n{self.shown()}")
        return result

    def process(self, server, *more):
        """An attempt as a process that may be killed; gives its exit code."""
        environment = {**os.environ, "PYTHONPATH": str(PEERS), "PYTHONDONTWRITEBYTECODE": "1"}
        return run([sys.executable, "-m", "second.client", *self._command(server, more)], env=environment).code

    def shown(self):
        return "\n".join(f"    {line}"[:300] for line in self.dialogue[-60:])


def reset_at_once(sock):
    """A cut that the other side may see before it has read everything."""
    client.reset(sock)


class Talk:
    """A connection on which commands are said one by one, and each reply is told in advance."""

    def __init__(self, address, name="client.example.org"):
        host, _, port = address.rpartition(":")
        self.said = []
        self.sock = socket.create_connection((host, int(port)), PATIENCE)
        self.sock.settimeout(PATIENCE)
        self.replies = self.sock.makefile("rb")
        self.hear("220")
        if name:
            self.features = self.say(f"EHLO {name}", "250").upper()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, octets):
        octets = octets.encode() if isinstance(octets, str) else octets
        self.said.append(f"C: {octets!r}"[:200])
        self.sock.sendall(octets)

    def hear(self, *begins):
        """The next reply, all its lines; it begins with one of these texts."""
        lines = []
        while True:
            line = self.replies.readline().decode(errors="backslashreplace")
            self.said.append(f"S: {line!r}"[:200])
            if not line:
                raise Failed(f"closed instead of {begins}\n{self.shown()}")
            lines.append(line[4:].rstrip("\r\n"))
            if line[3:4] != "-":
                break
        reply = f"{line[:3]} " + "\n".join(lines)
        check(any(reply.startswith(begin) for begin in begins), f"{reply!r} instead of {begins}\n{self.shown()}")
        return reply

    def say(self, command, *begins):
        self.send(command + "\r\n")
        return self.hear(*begins)

    def data(self, octets, *begins):
        """DATA, 354, these octets as they are, and the reply."""
        self.say("DATA", "354")
        self.send(octets)
        return self.hear(*begins)

    def chunk(self, octets, *begins, last=False):
        self.send(b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if last else b"", octets))
        return self.hear(*begins)

    def offset(self, mail):
        """The offset of the 355 to this MAIL."""
        reply = self.say(mail, "355 ")
        digits = reply[4:].split("\n")[0].split(" ")[0].split("\t")[0]
        check(digits.isdecimal() and 1 <= len(digits) <= 20, f"no offset in {reply!r}\n{self.shown()}")
        return int(digits)

    def closed(self):
        """The server closes without another reply."""
        rest = self.replies.read()
        check(not rest, f"{rest!r} instead of the end\n{self.shown()}")

    def leave(self):
        """Ends like a cut line does; returns when the other side has noticed it."""
        self.said.append("C: [end]")
        client.leave(self.sock)
        self.sock.close()

    def shown(self):
        return "\n".join(f"    {line}" for line in self.said[-40:])

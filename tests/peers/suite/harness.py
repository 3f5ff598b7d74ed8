"""What every peer needs: bounded processes, a recording proxy, messages, cases.

Nothing here knows a peer. All sockets are on 127.0.0.1 with ephemeral ports,
and every process started here is stopped when the run ends, however it ends.
"""

import atexit
import ctypes
import functools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
CACHE = TARGET / "peers-cache"

LOOPBACK = "127.0.0.1"


class Skip(Exception):
    """A peer or case that cannot run here, and why."""


class Failed(Exception):
    """A case that ran and found a difference."""


class OutOfTime(BaseException):
    """Raised by the alarm; not an Exception, so that no case swallows it."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(found, expected, what):
    """Compares octets or values, and shows the first difference."""
    if found == expected:
        return
    if isinstance(found, bytes) and isinstance(expected, bytes):
        at = next(
            (i for i, (a, b) in enumerate(zip(found, expected)) if a != b),
            min(len(found), len(expected)),
        )
        raise Failed(
            f"{what}: {len(found)} octets instead of {len(expected)}, different from octet {at}: "
            f"{found[max(0, at - 20):at + 40]!r} instead of {expected[max(0, at - 20):at + 40]!r}"
        )
    raise Failed(f"{what}: {found!r} instead of {expected!r}")


def once(function):
    """Calls a function once for its arguments and remembers what it gave, or raised."""
    known = {}

    @functools.wraps(function)
    def remembered(*arguments):
        if arguments not in known:
            try:
                known[arguments] = function(*arguments), None
            except (Skip, Failed) as error:
                known[arguments] = None, error
        value, error = known[arguments]
        if error:
            raise error
        return value

    return remembered


# --------------------------------------------------------------------- cases

CASES = []


def case(name, seconds=60):
    """Registers a function as the case `peer.what`, bounded in time."""

    def register(function):
        CASES.append((name, function, seconds))
        return function

    return register


# ----------------------------------------------------------------- processes

_running = []
_temporary = []


def become_subreaper():
    """Daemons that outlive their parent come back to this process, which stops them."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except (OSError, AttributeError):
        pass


def _descendants():
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = pathlib.Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        after = stat.rpartition(")")[2].split()
        children.setdefault(int(after[1]), []).append((int(entry), after[0]))
    found, queue = [], [os.getpid()]
    while queue:
        for pid, state in children.get(queue.pop(), []):
            queue.append(pid)
            if state != "Z":
                found.append(pid)
    return found


def _signal(pid, number, group=False):
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


class Process:
    """A process of a group of its own, its output in a file, stopped with its group.

    `talks`: its standard input and output are pipes, and only what it says to standard error is
    in the file.
    """

    def __init__(self, command, log, env=None, cwd=None, talks=False):
        self.log = pathlib.Path(log)
        self.name = os.path.basename(str(command[0]))
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=out if talks else subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        _running.append(self)

    def output(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def stop(self, number=signal.SIGTERM, seconds=5):
        """Asks the process to end, then ends its whole group; returns its exit code."""
        if self.alive():
            _signal(self.popen.pid, number)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        _signal(self.popen.pid, signal.SIGKILL, group=True)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            pass
        if self in _running:
            _running.remove(self)
        return self.popen.returncode


def stop_all():
    """Stops every process of this run, those that left their group included."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for process in list(_running):
        process.stop(seconds=2)
    for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 2.0)):
        left = _descendants()
        if not left:
            break
        for pid in left:
            _signal(pid, number)
        end = time.monotonic() + patience
        while time.monotonic() < end and _descendants():
            _reap()
            time.sleep(0.02)
    _reap()
    for directory in _temporary:
        shutil.rmtree(directory, ignore_errors=True)


def _reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def stop_on_signals():
    atexit.register(stop_all)

    def ended(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ended)

    def late(_number, _frame):
        raise OutOfTime()

    signal.signal(signal.SIGALRM, late)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        text = (self.out + self.err).decode(errors="replace")
        return f"exit {self.code}\n{text[-6000:]}"


def run(command, seconds=30, data=None, env=None, cwd=None):
    """Runs a command to its end, at most so many seconds; its group is ended after it."""
    popen = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        out, err = popen.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(str(command[0]))} did not end within {seconds} seconds") from None
    finally:
        _signal(popen.pid, signal.SIGKILL, group=True)
        if popen.poll() is None:
            popen.wait(5)
    return Result(popen.returncode, out, err)


def temporary(name, within=None):
    """A new directory that is removed when the run ends (kept with PEERS_KEEP=1)."""
    made = pathlib.Path(tempfile.mkdtemp(prefix=f"smtp-peers-{name}-", dir=within))
    if not os.environ.get("PEERS_KEEP"):
        _temporary.append(made)
    return made


def wait_for(what, seconds=15, every=0.02):
    """Calls `what` until it gives something true; None when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() >= end:
            return value or None
        time.sleep(every)


def free_port():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def greets(port):
    """Whether an SMTP server on this port sends its greeting."""
    try:
        with socket.create_connection((LOOPBACK, port), 2) as probe:
            probe.settimeout(5)
            greeting = probe.recv(512)
            if greeting.startswith(b"220"):
                probe.sendall(b"QUIT\r\n")
                probe.recv(512)
                return True
    except OSError:
        pass
    return False


# -------------------------------------------------------------------- proxy

class Proxy:
    """Stands between a client and a server and keeps what was said, in order.

    `cut_after`: ends the first connection once so many octets of the client
    have passed. `cut_behind`: ends it when what the client said has come to
    these octets; they are passed on, and the server's answer is not.
    """

    def __init__(self, port, cut_after=None, cut_behind=None):
        self.target = port
        self.cut_after, self.cut_behind = cut_after, cut_behind
        self.said = []  # (connection, "C" or "S", octets)
        self.connections = 0
        self.lock = threading.Lock()
        self.listener = socket.socket()
        if cut_after is not None:
            # So that a client which has written more than this waits for the proxy.
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.listener.bind((LOOPBACK, 0))
        self.listener.listen(64)
        self.listener.settimeout(0.2)
        self.port = self.listener.getsockname()[1]
        self.address = f"{LOOPBACK}:{self.port}"
        self.closing = False
        self.threads = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closing = True
        for thread in list(self.threads):
            thread.join(2)
        self.listener.close()

    def _accept(self):
        while not self.closing:
            try:
                inner, _ = self.listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                outer = socket.create_connection((LOOPBACK, self.target), 5)
            except OSError:
                inner.close()
                continue
            number = self.connections
            self.connections += 1
            for thread in (
                threading.Thread(target=self._pass, args=(number, "C", inner, outer), daemon=True),
                threading.Thread(target=self._pass, args=(number, "S", outer, inner), daemon=True),
            ):
                self.threads.append(thread)
                thread.start()

    def _pass(self, number, side, source, sink):
        said = b""
        passed = 0
        cuts = side == "C" and number == 0
        for one in (source, sink):
            one.settimeout(60)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while octets := source.recv(65536):
                if cuts and self.cut_after is not None and passed + len(octets) >= self.cut_after:
                    octets = octets[: self.cut_after - passed]
                    self._keep(number, side, octets)
                    sink.sendall(octets)
                    self._cut(source, sink)
                    break
                said = (said + octets)[-64:]
                if cuts and self.cut_behind is not None and said.endswith(self.cut_behind):
                    self._keep(number, side, octets)
                    source.shutdown(socket.SHUT_RDWR)  # first: no answer gets through
                    sink.sendall(octets)
                    self._cut(source, sink)
                    break
                passed += len(octets)
                self._keep(number, side, octets)
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._end(source, sink)

    def _cut(self, source, sink):
        time.sleep(0.2)  # the server reads what was passed on before it sees the end
        self._end(source, sink)

    @staticmethod
    def _end(*sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _keep(self, number, side, octets):
        with self.lock:
            self.said.append((number, side, octets))

    def octets(self, side, connection=None):
        """All octets of one side, of one connection or of all."""
        with self.lock:
            return b"".join(
                octets for number, who, octets in self.said
                if who == side and connection in (None, number)
            )

    def turns(self, connection=0):
        """What each side said before the other spoke: [(side, octets)]."""
        turns = []
        with self.lock:
            for number, side, octets in self.said:
                if number != connection:
                    continue
                if turns and turns[-1][0] == side:
                    turns[-1] = (side, turns[-1][1] + octets)
                else:
                    turns.append((side, octets))
        return turns

    def dialogue(self, longest=400):
        """The dialogue in a form for a report, long runs shortened."""
        lines = []
        for number in range(self.connections):
            for side, octets in self.turns(number):
                shown = octets.decode("utf-8", "backslashreplace")
                if len(shown) > 2 * longest:
                    shown = f"{shown[:longest]}\n[… {len(shown) - 2 * longest} more …]\n{shown[-longest:]}"
                for line in shown.replace("\r\n", "\n").rstrip("\n").split("\n"):
                    lines.append(f"    {number} {side}: {line!r}"[:300] if "\r" in line else f"    {number} {side}: {line}"[:300])
        return "\n".join(lines[:200])


def pipelined(proxy, first=b"MAIL FROM:", second=b"\r\nRCPT TO:", connection=0):
    """Whether both commands of a group went out in one turn of the client."""
    return any(
        side == "C" and first in octets.upper() and second in octets.upper()
        for side, octets in proxy.turns(connection)
    )


# ------------------------------------------------------------------ messages

def canonical(octets):
    """Lines ended by CRLF, and a last line end."""
    octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


HEADER = (
    b"From: Ann <ann@example.org>\r\n"
    b"To: Bob <bob@example.net>\r\n"
    b"Subject: %s\r\n"
    b"Date: Mon, 02 Mar 2026 10:20:30 +0000\r\n"
    b"Message-ID: <%s@example.org>\r\n"
)


def message(subject, body, more=b""):
    name = subject.encode()
    return HEADER % (name, name.replace(b" ", b".")) + more + b"\r\n" + body


_MIME8 = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


def plain():
    return message("plain", b"Dear Bob,\r\n\r\nthe quick brown fox.\r\n\r\n-- \r\nAnn\r\n")


def dots():
    lines = [b".", b"..", b"...", b".hidden", b"", b".", b" .", b". ", b".\t", b"a.", b"..", b"", b"."]
    return message("dots", b"".join(line + b"\r\n" for line in lines * 200))


def long_lines():
    return message(
        "long lines",
        b"x" * 998 + b"\r\n" + b"." * 998 + b"\r\n" + b"y" * 5000 + b"\r\n" + b"." + b"z" * 70000 + b"\r\nend\r\n",
    )


def eight_bit():
    return message("eight bit", "Grüße aus Köln – “ja”, naïve café\r\nключ\r\n".encode() * 40, _MIME8)


def latin_one():
    body = bytes(range(128, 256)) * 3 + b"\r\n"
    return message("latin one", body * 20, _MIME8.replace(b"utf-8", b"iso-8859-1"))


def empty_body():
    return message("empty body", b"")


def large(octets=3_000_000):
    line = b"%07d The mail must go through, and each octet of it just once; dots, too:\r\n.%07d\r\n"
    body, number = bytearray(), 0
    while len(body) < octets:
        body += line % (number, number)
        number += 1
    return message("large", bytes(body))

"""The client: python3 -m second.client --to HOST:PORT --from A --rcpt B --state FILE MESSAGE.

One run is one attempt; what is unfinished is in the state file, and the next run goes on from
there. The dialogue is printed to standard error, and one line of JSON to standard output:

    {"outcome": ..., "reply": ..., "offset": ..., "recipients": {...}, "waits": ...}

Outcomes: delivered, deferred, refused (the final reply), nobody (no recipient was accepted),
detached (DETA: neither delivered nor failed), aborted, unknown, interrupted (run it again).
"""

import argparse
import json
import os
import pathlib
import re
import signal
import smtplib
import socket
import struct
import sys

from .letter import State, as_sent, restartable, stuffed

PATIENCE = 7  # seconds on top of maxtimer
PIECE = 65536


class Cut(Exception):
    """The client has ended its connection, as it was told to."""


class Interrupted(Exception):
    """This attempt leads no further."""

    def __init__(self, why, outcome="interrupted"):
        super().__init__(why)
        self.why, self.outcome = why, outcome


class Line(smtplib.SMTP):
    """smtplib with the dialogue written down."""

    log = print

    def putcmd(self, cmd, args=""):
        self.log("C:", f"{cmd} {args}".strip())
        super().putcmd(cmd, args)

    def getreply(self):
        code, text = super().getreply()
        shown = text.decode(errors="backslashreplace").split("\n")
        self.log("S:", " / ".join([f"{code} {shown[0]}".strip(), *shown[1:]]))
        return code, text

    def command(self, command):
        self.putcmd(command)
        return self.getreply()


class Attempt:
    """One connection. `at_cut(sock)` and `at_120(number)` let a test step in."""

    def __init__(self, options, at_cut=None, at_120=None, log=lambda *words: print(*words, file=sys.stderr)):
        self.options, self.at_120, self.log = options, at_120 or (lambda number: None), log
        self.at_cut = at_cut or {"fin": leave, "rst": reset, "kill": kill}[options.cut_how]
        kind = "BDAT" if options.bdat else "DATA"
        self.message = as_sent(pathlib.Path(options.message).read_bytes(), kind)
        self.state = State(options.state, self.message, options.sender, options.rcpt, kind, options.hostname)
        self.result = {"outcome": None, "reply": None, "offset": None, "recipients": {}, "waits": 0}
        self.left = options.cut_after  # octets until the connection is cut
        self.under_rdlv = False

    def run(self):
        """The outcome of the attempt, as a dictionary."""
        if self.state.outcome:  # the TRANSID is spent: nothing is sent again
            return {**self.result, **self.state.outcome}
        host, _, port = self.options.to.rpartition(":")
        try:
            self.line = Line(local_hostname=self.options.hostname, timeout=self.options.timeout)
            self.line.log = self.log
            self.line.connect(host, int(port))
            self.line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            return self._ended("interrupted", why=str(error))
        try:
            return self._session()
        except Cut:
            return self._lost("cut")
        except (smtplib.SMTPException, OSError) as error:
            return self._lost(repr(error))
        except Interrupted as error:
            self._quietly("QUIT")
            return self._ended(error.outcome, why=error.why)
        finally:
            self.line.close()

    # -------------------------------------------------------- outcomes

    def _ended(self, outcome, **more):
        self.result.update(outcome=outcome, transid=self.state.transid, **more)
        return self.result

    def _lost(self, why):
        """With CHECKPOINT a restart tells what became of it; without, nobody does."""
        unknown = self.state.end_sent and not self.with_checkpoint
        return self._ended("unknown" if unknown else "interrupted", why=why)

    def _spent(self, outcome, reply):
        self._ended(outcome, reply=reply)
        self.state.set(outcome=dict(self.result))  # before QUIT
        return self.result

    def _quietly(self, command):
        try:
            self.line.command(command)
        except (smtplib.SMTPException, OSError):
            pass

    # ------------------------------------------------------- a session

    with_checkpoint = False

    def _session(self):
        line = self.line
        code, _ = line.ehlo()
        if code != 250:
            raise Interrupted(f"EHLO: {code}")
        self.with_checkpoint = line.has_extn("checkpoint") and not self.options.plain
        if self.state.kind == "BDAT" and not line.has_extn("chunking"):
            raise Interrupted("no CHUNKING here")
        if self.state.end_sent and not self.with_checkpoint:
            raise Interrupted("no CHECKPOINT here", "unknown")
        offset = self._mail()
        accepted = self._recipients(restarts=offset is not None)
        if not accepted:
            self._quietly("RSET")
            raise Interrupted("no recipient was accepted", "nobody")
        self._rdlv()
        self.state.set(data_sent=True)
        send = self._bdat if self.state.kind == "BDAT" else self._data
        code, text = send(offset or 0)
        return self._finish(code, text)

    def _finish(self, code, text):
        """The reply to the end of the data."""
        while code == 120:
            if not self.under_rdlv:
                raise Interrupted("120 that nobody asked for")
            self.result["waits"] += 1
            self.at_120(self.result["waits"])
            if self.options.on_120 == "cont" or self.result["waits"] <= self.options.carry_on:
                self.line.putcmd("CONT")
                code, text = self.line.getreply()
                continue
            return getattr(self, f"_{self.options.on_120}")()
        reply = f"{code} {text.decode(errors='backslashreplace')}"
        if code // 100 in (2, 4, 5) and code not in (421, 503, 520):
            result = self._spent({2: "delivered", 4: "deferred", 5: "refused"}[code // 100], reply)
            self._quietly("QUIT")
            return result
        self.result["reply"] = reply
        raise Interrupted(f"the data ended with {reply}")

    def _deta(self):
        if not (self.line.has_extn("deta") and self.line.has_extn("dsn")):
            raise Interrupted("no DETA here")
        self.line.putcmd("DETA")
        if self.options.cut_at_deta:
            self.at_cut(self.line.sock)
            raise Cut
        code, text = self.line.getreply()
        if code == 450:  # too many: carry on
            self.options.on_120 = "cont"
            self.line.putcmd("CONT")
            return self._finish(*self.line.getreply())
        if code != 221:
            raise Interrupted(f"DETA: {code}")
        self._ended("detached", reply=f"{code} {text.decode()}")
        if not self.options.come_back:
            self.state.set(outcome=dict(self.result))
        return self.result

    def _rset(self):
        code, text = self.line.command("RSET")
        reply = f"{code} {text.decode()}"
        self.result["reply"] = reply
        if code != 250:
            raise Interrupted("too late to abort")
        result = self._spent("aborted" if self.options.aborts else "unknown", reply)
        self._quietly("QUIT")
        return result

    def _drop(self):
        self.at_cut(self.line.sock)
        raise Cut

    # --------------------------------------------------- the envelope

    def _mail(self):
        """The offset of a restart, None where the whole transaction is to be sent."""
        line, options = self.line, self.options
        words = [f"FROM:<{options.sender}>"]
        if line.has_extn("size"):
            words.append(f"SIZE={len(self.message)}")
        if self.message and max(self.message) > 127 and line.has_extn("8bitmime"):
            words.append("BODY=8BITMIME")
        if line.has_extn("dsn"):
            words += [f"{key}={value}" for key, value in (("RET", options.ret), ("ENVID", options.envid)) if value]
        if self.with_checkpoint:
            words.append(f"TRANSID={self.state.transid}")
        command = "MAIL " + " ".join(words)
        code, text = line.command(command)
        if code == 355 and self.with_checkpoint and not self.state.data_sent:
            # A stranger's transaction, or an attack: once more, and then never with this TRANSID.
            line.command("RSET")
            code, text = line.command(command)
            if code == 355:
                self.state.anew()
                raise Interrupted("the TRANSID is taken")
        if code == 250:
            self.state.set(mails=self.state.mails + 1, replies=None)
            return None
        if code != 355 or not self.with_checkpoint:
            raise Interrupted(f"MAIL: {code} {text.decode()}")
        found = re.match(rb"([0-9]{1,20})(?:[ \t\n]|$)", text)
        if not found:
            raise Interrupted(f"no offset in {text!r}")
        offset = self.result["offset"] = int(found[1])
        right = restartable(self.message, offset) if self.state.kind == "DATA" else offset <= len(self.message)
        if not right:
            line.command("RSET")
            if self.state.end_sent:
                raise Interrupted(f"offset {offset}", "unknown")
            self.state.anew()
            raise Interrupted(f"offset {offset}")
        return offset

    def _recipients(self, restarts):
        """The recipients that were accepted."""
        state, line = self.state, self.line
        if not restarts or state.replies is None or state.mails != 1 or self.options.repeat:
            notify = self.options.notify or ("FAILURE" if self.options.on_120 == "deta" else None)
            parameters = f" NOTIFY={notify}" if notify and line.has_extn("dsn") else ""
            replies = {}
            for address in state.rcpts:
                orcpt = f" ORCPT=rfc822;{address}" if parameters and self.options.orcpt else ""
                code, text = line.command(f"RCPT TO:<{address}>{parameters}{orcpt}")
                replies[address] = f"{code} {text.decode()}"
                if code == 421:
                    raise Interrupted("421")
            state.set(replies=replies)
        self.result["recipients"] = state.replies
        return [address for address, reply in state.replies.items() if reply.startswith("2")]

    # ---------------------------------------------------- the content

    def _rdlv(self):
        """Asks for 120s, where that is wanted and offered; without them it goes on as ever."""
        self.under_rdlv = False
        if self.options.rdlv is None or not self.line.has_extn("rdlv"):
            return
        offered = re.fullmatch(r"mintimer=([0-9]+)", self.line.esmtp_features["rdlv"].strip(), re.I)
        maxtimer = max(self.options.rdlv, int(offered[1]) if offered else 1)
        code, _ = self.line.command(f"RDLV maxtimer={maxtimer}")
        self.under_rdlv = code // 100 == 2
        if self.under_rdlv:
            self.line.sock.settimeout(maxtimer + PATIENCE)

    def _data(self, offset):
        code, text = self.line.command("DATA")
        if code == 520 and self.under_rdlv:
            self.under_rdlv = False
            code, text = self.line.command("DATA")
        if code != 354:
            raise Interrupted(f"DATA: {code} {text.decode()}")
        rest = stuffed(self.message[offset:])
        self.log(f"C: [{len(self.message) - offset} octets from {offset} on, {len(rest)} on the wire]")
        self._write(rest)
        self._end_comes()
        self._write(b".\r\n")
        return self._await_reply()

    def _bdat(self, offset):
        while True:
            part = self.message[offset:offset + self.options.bdat]
            offset += len(part)
            last = offset == len(self.message)
            if last:
                self._end_comes()
            command = f"BDAT {len(part)}{' LAST' if last else ''}"
            self.log("C:", command)
            self._write(f"{command}\r\n".encode() + part)
            code, text = self._await_reply()
            if last and code == 520 and self.under_rdlv:
                self.options.rdlv = None
                self.line.command("RSET")
                raise Interrupted("no RDLV for BDAT here")
            if last:
                return code, text
            if code != 250:
                self._quietly("RSET")
                raise Interrupted(f"BDAT: {code} {text.decode()}")

    def _end_comes(self):
        self.state.set(end_sent=True)

    def _write(self, octets):
        allowed = octets if self.left is None else octets[:self.left]
        for at in range(0, len(allowed), PIECE):
            self.line.sock.sendall(allowed[at:at + PIECE])
        if self.left is not None:
            self.left -= len(allowed)
            if len(allowed) < len(octets):
                self._cut()

    def _await_reply(self):
        if self.left == 0:
            self._cut()
        return self.line.getreply()

    def _cut(self):
        self.log(f"C: [cut after {self.options.cut_after} octets]")
        self.at_cut(self.line.sock)
        raise Cut


def leave(sock):
    """Nothing more is sent; what the server still says is not looked at. Returns when it has closed as well."""
    sock.shutdown(socket.SHUT_WR)
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        pass


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def kill(_sock):
    os.kill(os.getpid(), signal.SIGKILL)


def parser():
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("message")
    made.add_argument("--to", required=True, metavar="HOST:PORT")
    made.add_argument("--from", dest="sender", default="ann@example.org")
    made.add_argument("--rcpt", action="append", required=True)
    made.add_argument("--state", required=True, metavar="FILE")
    made.add_argument("--hostname", default="client.example.org")
    made.add_argument("--timeout", type=float, default=30)
    made.add_argument("--plain", action="store_true", help="without CHECKPOINT")
    made.add_argument("--bdat", type=int, metavar="OCTETS", help="chunks of this size instead of DATA")
    made.add_argument("--repeat", action="store_true", help="repeat the recipients although their replies are known")
    made.add_argument("--ret")
    made.add_argument("--envid")
    made.add_argument("--notify")
    made.add_argument("--orcpt", action="store_true")
    made.add_argument("--rdlv", type=int, metavar="MAXTIMER")
    made.add_argument("--on-120", choices=("cont", "deta", "rset", "drop"), default="cont")
    made.add_argument("--carry-on", type=int, default=0, metavar="N", help="say CONT so many times first")
    made.add_argument("--aborts", action="store_true", help="250 to RSET behind a 120 means aborted at this server")
    made.add_argument("--come-back", action="store_true", help="a detached transaction may be restarted")
    made.add_argument("--cut-after", type=int, metavar="N", help="cut the connection so many octets into the data")
    made.add_argument("--cut-at-deta", action="store_true", help="cut it between DETA and its reply")
    made.add_argument("--cut-how", choices=("fin", "rst", "kill"), default="fin")
    return made


def main():
    print(json.dumps(Attempt(parser().parse_args()).run()))


if __name__ == "__main__":
    main()

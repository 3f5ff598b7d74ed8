"""The client's message and the state of its unfinished transaction, kept in a file."""

import hashlib
import json
import os
import pathlib
import secrets


def as_sent(octets, kind):
    """The message as it is counted: with DATA an unfinished last line gets its CRLF."""
    rest = octets.replace(b"\r\n", b"")
    if b"\n" in rest or b"\r" in rest:
        raise ValueError("bare CR or LF in the message")
    return octets if kind == "BDAT" or not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


def stuffed(octets):
    """Octets from the start of a line on, dots doubled where lines begin with one."""
    doubled = octets.replace(b"\r\n.", b"\r\n..")
    return b"." + doubled if doubled.startswith(b".") else doubled


def restartable(message, offset):
    """Whether DATA can go on here: what follows is taken for the start of a line."""
    if offset > len(message):
        return False
    if offset == 0 or message[offset - 2:offset] == b"\r\n":
        return True
    return message[offset - 1:offset + 1] != b"\r\n" and message[offset:offset + 1] != b"."


class State:
    """Everything that a restart needs. Saved before each step that could not be told afterwards."""

    def __init__(self, path, message, mail, rcpts, kind, domain):
        self.path = pathlib.Path(path)
        digest = hashlib.sha256(message).hexdigest()
        if self.path.exists():
            self.kept = json.loads(self.path.read_text())
            if (self.kept["size"], self.kept["digest"]) != (len(message), digest):
                raise ValueError("the message has changed since its transaction began")
            if (self.kept["mail"], self.kept["rcpts"], self.kept["kind"]) != (mail, rcpts, kind):
                raise ValueError("the transaction began in another way")
        else:
            self.kept = {
                "size": len(message), "digest": digest, "mail": mail, "rcpts": rcpts, "kind": kind, "domain": domain,
                "end_sent": False, "outcome": None,
            }
            self.anew()

    def __getattr__(self, name):
        return self.__dict__["kept"][name]

    def anew(self):
        """A TRANSID is never used again for something else."""
        self.set(transid=f"<{secrets.token_hex(16)}@{self.kept['domain']}>", mails=0, replies=None, data_sent=False)

    def set(self, **more):
        self.kept.update(more)
        new = self.path.with_suffix(".new")
        with open(new, "w") as out:
            json.dump(self.kept, out)
            out.flush()
            os.fsync(out.fileno())
        os.rename(new, self.path)
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

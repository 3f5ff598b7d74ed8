"""Records of transactions in files, each step synced before it is promised.

    records/<digest>.json  a transaction: envelope with replies, length, state, final reply
    content/<name>         its octets, as far as they came
    delivered/<name>.eml   an accepted message, with <name>.json, its envelope, beside it
    dsn/<name>.json        for whom a failure is reported, once it is the server's duty

The completion record is the commit: what is delivered and reported follows from it, and is done
again from it after a crash. Claims and running decisions live in memory: they die with the
process, and so do all the sessions that they concern.
"""

import asyncio
import hashlib
import json
import os
import pathlib
import secrets

from . import grammar


class Fenced(Exception):
    """Another session has taken the key over."""


class Unreadable(Exception):
    """A record that is there but cannot be read."""


class WrongLength(Exception):
    """The content is not as long as was announced."""


class Record:
    """What is kept of a transaction; all but `stored` and `line_start` is also in its file."""

    KEPT = ("name", "mail", "rcpts", "kind", "length", "state", "detached", "owner", "results", "reply", "reported")

    def __init__(self, mail, owner, name=None):
        self.name = name or secrets.token_hex(12)
        self.mail, self.rcpts, self.owner = mail, [], owner
        self.kind = None  # "DATA" or "BDAT"
        self.length = 0  # synced octets
        self.stored = self.line_start = 0  # written octets, and the start of their last line
        self.state = "partial"  # or "committed"
        self.detached = False
        self.results = self.reply = None  # reply for each recipient, and the final one
        self.reported = []  # recipients for whom a DSN was issued

    def accepted(self):
        return [rcpt for rcpt in self.rcpts if rcpt["reply"].startswith("2")]

    def failed(self):
        return self.state == "committed" and not self.reply.startswith("2")


class Hold:
    """A session's hold on a key, until another session takes it over; without a key on nothing."""

    def __init__(self, store, key, record=None):
        self.store, self.key, self.record = store, key, record
        self.awaits = False  # whether its session is there to give the final reply
        self.out = None

    def check(self):
        if self.key is not None and self.store.holds.get(self.key) is not self:
            raise Fenced

    def begin(self, record):
        """A transaction that starts afresh; what was held until now goes with it."""
        self.check()
        if self.key is not None:
            self.store.forget(self.key)
            self.store.records[self.key] = record
        self.record = record

    def confirm(self):
        """What was announced is still there."""
        self.check()
        record = self.record
        path = self.store.content(record)
        if record.state == "partial" and (path.stat().st_size if path.exists() else 0) != record.stored:
            if self.key is not None:
                self.store.forget(self.key)
            raise WrongLength

    def append(self, octets, line_start=None):
        """`line_start` of these octets: where in them the last line begins; None: nowhere."""
        self.check()
        record = self.record
        if self.out is None:
            self.out = open(self.store.content(record), "ab", buffering=0)
        self.out.write(octets)
        if line_start is not None:
            record.line_start = record.stored + line_start
        record.stored += len(octets)

    def checkpoint(self):
        """Makes what can be gone on from durable: for DATA whole lines."""
        self.check()
        if self.key is not None and self.record.state == "partial":
            self.store.checkpoint(self.key, self.record)

    def discard(self):
        """A reset: a partial record is gone, any other is only let go of."""
        self.check()
        record = self.record
        if record is not None and record.state == "partial" and self.key not in self.store.decisions:
            if self.key is not None:
                self.store.forget(self.key)
            else:
                self.store.content(record).unlink(missing_ok=True)
        self.record = None


class Decision:
    """A decision that is being made. It belongs to the record, and is accepted once."""

    def __init__(self, key, record):
        self.key, self.record = key, record
        self.done = asyncio.get_running_loop().create_future()  # True: committed, False: withdrawn
        self.task = None


class Store:
    def __init__(self, directory, on_dsn=lambda record: None):
        self.directory = pathlib.Path(directory)
        for sub in ("records", "content", "delivered", "dsn"):
            (self.directory / sub).mkdir(parents=True, exist_ok=True)
        self.records, self.holds, self.decisions = {}, {}, {}
        self.on_dsn = on_dsn
        self.undecided = self._recover()

    # ------------------------------------------------------------- files

    def content(self, record):
        return self.directory / "content" / record.name

    def _path(self, key):
        return self.directory / "records" / f"{key}.json"

    def _write(self, path, value):
        new = path.with_suffix(".new")
        with open(new, "w") as out:
            json.dump(value, out)
            out.flush()
            os.fsync(out.fileno())
        os.rename(new, path)
        self._sync(path.parent)

    @staticmethod
    def _sync(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def save(self, key, record):
        self._write(self._path(key), {field: getattr(record, field) for field in Record.KEPT})

    def _load(self, key):
        path = self._path(key)
        if not path.exists():
            return None
        try:
            given = json.loads(path.read_text())
            record = Record(given["mail"], given["owner"], given["name"])
            for field in Record.KEPT:
                setattr(record, field, given[field])
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(str(error)) from error
        if record.state == "partial":
            content = self.content(record)
            if (content.stat().st_size if content.exists() else 0) < record.length:
                return None  # octets that were announced are lost: afresh
            if content.exists():
                os.truncate(content, record.length)  # behind them nothing was synced
        record.stored = record.line_start = record.length
        return record

    def checkpoint(self, key, record, even_empty=False):
        length = record.line_start if record.kind == "DATA" else record.stored
        content = self.content(record)
        if (length or even_empty) and content.exists():
            self._sync(content)
            self._sync(content.parent)
            record.length = length
            self.save(key, record)

    def forget(self, key):
        record = self.records.pop(key, None)
        if record is None:
            try:
                record = self._load(key)
            except Unreadable:
                return
        self._path(key).unlink(missing_ok=True)
        self._sync(self.directory / "records")
        if record is not None:
            self.content(record).unlink(missing_ok=True)

    # ------------------------------------------------------------ claims

    @staticmethod
    def key(scope, transid):
        """Opaque octets and a scope become a file name."""
        digest = hashlib.sha256()
        for part in (*scope, transid):
            octets = part.encode("utf-8", "surrogateescape")
            digest.update(len(octets).to_bytes(8, "big") + octets)
        return digest.hexdigest()

    def claim(self, key):
        """Takes the key from whoever has it; what can be gone on from is durable when this returns."""
        hold = self.holds[key] = Hold(self, key)
        if key not in self.records:
            record = self._load(key)
            if record is None:
                return hold
            self.records[key] = record
        record = self.records[key]
        if record.state == "partial" and key not in self.decisions:
            if record.kind == "DATA" and record.stored > record.line_start:
                os.truncate(self.content(record), record.line_start)
                record.stored = record.line_start
            self.checkpoint(key, record)
        hold.record = record
        return hold

    # --------------------------------------------------------- decisions

    def decide(self, hold):
        """All data is in: the decision starts, durable before it may be waited for."""
        hold.check()
        record = hold.record
        record.line_start = record.stored
        self.content(record).touch()  # while it is there it has not been delivered
        if hold.key is not None:
            self.checkpoint(hold.key, record, even_empty=True)
        return self._decision(hold.key, record)

    def _decision(self, key, record):
        decision = Decision(key, record)
        if key is not None:
            self.decisions[key] = decision
        return decision

    def withdraw(self, decision):
        """False where it is too late."""
        if decision.done.done():
            return False
        if decision.task is not None:
            decision.task.cancel()
        if decision.key is not None and self.decisions.get(decision.key) is decision:
            del self.decisions[decision.key]
        decision.done.set_result(False)
        return True

    def commit(self, decision, results, crash=lambda point: None):
        """Accepts a verdict: a reply for each accepted recipient."""
        if decision.done.done():
            return
        record, key = decision.record, decision.key
        record.results, record.reply = results, final_reply(results)
        record.state = "committed"
        hold = self.holds.get(key)
        served = not record.detached or hold is not None and hold.awaits
        if record.reply.startswith("2") or not served:
            record.reported = self.owed(record)
        if key is not None:
            self.save(key, record)
            crash("committed")
            self.decisions.pop(key, None)
        self._follow_up(record)
        decision.done.set_result(True)

    @staticmethod
    def owed(record):
        """The failed recipients that a DSN is owed for (RFC 3461 §4.1, §5.2)."""
        if not record.mail["path"]:
            return []  # nobody to report to
        failed = [rcpt for rcpt in record.accepted() if not record.results[rcpt["path"]].startswith("2")]
        return [
            rcpt["path"] for rcpt in failed
            if "FAILURE" in (rcpt["parameters"].get("NOTIFY") or "FAILURE").upper().split(",")
        ]

    def detach(self, hold, decision):
        """The server owns the message from here on; what has failed already is reported."""
        hold.check()
        record, key = hold.record, hold.key
        record.detached = True
        if key is None and record.state == "partial":
            # Whoever gave no TRANSID cannot come back, but the message must outlive a crash.
            key = decision.key = f"detached-{record.name}"
            self.records[key], self.decisions[key] = record, decision
            self.checkpoint(key, record, even_empty=True)
        self._report(key, record)

    def _report(self, key, record):
        """The server's own from now on: what has failed is reported."""
        if record.failed() and not record.reported:
            record.reported = self.owed(record)
        if key is not None:
            self.save(key, record)
        self._follow_up(record)

    def let_go(self, hold):
        """The session is gone: what it took back of a detached message is detached again."""
        record, awaited, hold.awaits = hold.record, hold.awaits, False
        if record is not None and awaited and record.detached and record.failed():
            self._report(hold.key, record)

    def told(self, hold):
        """The final reply has been given: a detached message has its owner again."""
        record = hold.record
        if hold.key is not None and record.detached and not record.reported:
            record.detached = False
            self.save(hold.key, record)

    def detached_of(self, owner):
        """How many submissions of this client are being decided without it."""
        return sum(d.record.detached and d.record.owner == owner for d in self.decisions.values())

    # ----------------------------------------------------- what follows

    def _follow_up(self, record):
        """Delivers and reports what the completion record says. It may be called again."""
        if record.state != "committed":
            return
        content = self.content(record)
        accepted = [rcpt for rcpt in record.accepted() if record.results[rcpt["path"]].startswith("2")]
        delivered = self.directory / "delivered" / f"{record.name}.eml"
        if accepted and content.exists() and not delivered.exists():
            self._write(delivered.with_suffix(".json"), {"mail": record.mail, "rcpts": accepted})
            os.link(content, delivered)
            self._sync(delivered.parent)
        content.unlink(missing_ok=True)
        report = self.directory / "dsn" / f"{record.name}.json"
        if record.reported and not report.exists():
            given = {rcpt["path"]: rcpt["parameters"] for rcpt in record.rcpts}
            self._write(report, {
                "to": record.mail["path"],
                "ret": record.mail["parameters"].get("RET"),
                "original-envelope-id": record.mail["parameters"].get("ENVID"),
                "recipients": [
                    {
                        "original-recipient": given[address].get("ORCPT"), "final-recipient": f"rfc822;{address}",
                        "action": "failed", "status": record.results[address][4:].split(" ")[0],
                        "diagnostic-code": f"smtp;{record.results[address]}",
                    }
                    for address in record.reported
                ],
            })
            self.on_dsn(record)

    def _recover(self):
        """After a start: carries out what was committed; gives the keys of what was detached undecided."""
        undecided, named, swept = [], set(), True
        for path in (self.directory / "records").glob("*.json"):
            try:
                record = self._load(path.stem)
            except Unreadable:
                swept = False  # whose content it is cannot be told
                continue
            if record is None:
                continue
            named.add(record.name)
            if record.state == "committed":
                if record.detached:
                    self._report(path.stem, record)
                else:
                    self._follow_up(record)
            elif record.detached:
                self.records[path.stem] = record
                undecided.append(path.stem)
        for path in (self.directory / "content").iterdir():
            if swept and path.name not in named:
                path.unlink()
        return undecided

    def resume(self, key):
        return self._decision(key, self.records[key])


def final_reply(results):
    """The one reply of SMTP: it is taken if anybody's copy is, and comes again if that can help."""
    for first in "24":
        for reply in results.values():
            if reply.startswith(first):
                return reply
    return next(iter(results.values()))


def retained(record):
    """The reply that a restart is given."""
    if record.failed() and record.reported:
        return "250 2.0.0 Taken; the failure was reported by DSN"
    return record.reply


def continues(record, mail):
    return grammar.same_mail(record.mail, mail)

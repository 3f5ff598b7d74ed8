"""One connection of the server: commands, transactions, content."""

import asyncio
import sys

from aiosmtpd.smtp import SMTP

from . import grammar
from .grammar import Refused
from .rdlv import LongSubmission
from .store import Fenced, Hold, Record, Unreadable, WrongLength, continues, retained
from .wire import say

SEQUENCE = "503 5.5.1 Bad sequence of commands"
LONGEST_COMMAND = 2048


class Gone(Exception):
    """The connection has ended, or is to end now."""


class Transaction:
    def __init__(self, mail, hold, restarts):
        self.mail, self.hold = mail, hold
        self.restarts = restarts  # answered with 355
        self.replaces = not restarts  # until its first recipient, an older one stays
        self.repeated = 0  # stored recipients that cannot be repeated any more
        self.decision = None
        self.kind = None  # of data command in this session
        self.spoiled = False  # a chunk was refused
        self.early = 0  # octets that came before the 355 was given
        self.maxtimer = None  # of RDLV
        self.open = False  # a 120 waits for its answer
        self.received = 0  # octets on the wire since the data began


class Session(LongSubmission, SMTP):
    line_length_limit = 65536

    def __init__(self, service):
        super().__init__(service, hostname=service.options.hostname, enable_SMTPUTF8=True, data_size_limit=None,
                         loop=service.loop)
        self.service, self.store, self.wire = service, service.store, service.wire
        self.gone = service.loop.create_future()
        self.transaction = None
        self.handlers = {
            name: getattr(self, f"smtp_{name}")
            for name in ("HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "QUIT", *self.verbs())
        }

    # -------------------------------------------------- the connection

    # aiosmtpd drops what it has read when the connection ends; here every octet that came counts.

    def eof_received(self):
        self._ended()
        return asyncio.StreamReaderProtocol.eof_received(self)

    def connection_lost(self, error):
        self._timeout_handle.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, None)
        self.transport = None
        self._ended()

    def _ended(self):
        if not self.gone.done():
            self.gone.set_result(None)

    def pending(self):
        """Whether octets of the client stand behind what was read."""
        return bool(self._reader._buffer)

    async def push(self, status):
        print("S:", status, file=sys.stderr)
        try:
            await super().push(status)
        except (ConnectionError, AttributeError):
            raise Gone from None

    async def piece(self):
        """Octets up to a line feed, or fewer where a line is long or the last."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            return await self._reader.read(error.consumed)
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def _handle_client(self):
        try:
            await self.push(f"220 {self.hostname} ESMTP")
            while not self.over:
                line = await self.piece()
                while len(line) > LONGEST_COMMAND and not line.endswith(b"\n"):
                    more = await self.piece()
                    if not more:
                        raise Gone
                    line = line[:LONGEST_COMMAND + 1] + more[-1:]
                if not line.endswith(b"\n"):
                    raise Gone
                await self.command(line)
        except Gone:
            pass
        except Fenced:
            await self._last_word("421 4.3.0 This transaction was taken over")
        finally:
            try:
                if self.transaction is not None:
                    self.lost()
            finally:
                say("ended")
                if self.transport is not None:
                    self.transport.close()

    over = False

    async def _last_word(self, status):
        try:
            await self.push(status)
        except Gone:
            pass

    def cut(self):
        """Ends the connection as a broken line does."""
        if self.transport is not None:
            self.transport.abort()
        raise Gone

    async def reached(self, point):
        do = self.wire.reached(point)
        if do in ("stall", "pause"):
            say("stalled", at=point)
            await self.wire.go.wait()
            self.wire.go.clear()
        if do in ("stall", "cut"):
            self.cut()

    def lost(self):
        """The connection ended within a transaction."""
        transaction, self.transaction = self.transaction, None
        hold, decision = transaction.hold, transaction.decision
        try:
            if hold.key is None:
                if decision is None or self.store.withdraw(decision):
                    hold.discard()
            elif hold.record is not None and decision is None:
                hold.checkpoint()
            self.store.let_go(hold)
        except Fenced:
            pass

    # -------------------------------------------------------- commands

    async def command(self, line):
        print("C:", line.rstrip(b"\r\n").decode(errors="backslashreplace"), file=sys.stderr)
        if not line.endswith(b"\r\n") or len(line) > LONGEST_COMMAND or b"\r" in line[:-2] or b"\0" in line:
            return await self.push("500 5.5.2 Line not understood")
        verb, _, argument = line[:-2].decode("utf-8", "surrogateescape").partition(" ")
        verb, argument = verb.upper(), argument.strip() or None
        self._reset_timeout()
        if self.transaction is not None:
            self.transaction.hold.check()
            self.transaction.early -= len(line)
        if self.transaction is not None and self.transaction.open:
            return await self.behind_120(verb, argument)
        handler = self.handlers.get(verb)
        if handler is None:
            return await self.push("502 5.5.1 Not offered" if verb in ("RDLV", "CONT", "DETA") else "500 5.5.1 Unknown")
        try:
            await handler(argument)
        except Refused as refused:
            await self.push(refused.reply)

    def reset(self):
        """A reset of the transaction, if there is one."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None and transaction.replaces:
            transaction.hold.check()  # an older one is not its own to discard
        elif transaction is not None:
            transaction.hold.discard()

    async def smtp_EHLO(self, argument):
        if argument is None:
            raise Refused("501 5.5.4 A name is missing")
        self.reset()
        self.session.host_name, self.session.extended_smtp = argument, True
        await self.hello()

    async def hello(self):
        if not self.session.extended_smtp:
            return await self.push(f"250 {self.hostname}")
        options = self.service.options
        lines = [self.hostname, f"SIZE {options.size}", "8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING", "BINARYMIME",
                 "ENHANCEDSTATUSCODES", "DSN", "CHECKPOINT", *self.keywords()]
        await self.push("\r\n".join([f"250-{line}" for line in lines] + ["250 HELP"]))

    async def smtp_HELO(self, argument):
        if argument is None:
            raise Refused("501 5.5.4 A name is missing")
        self.reset()
        self.session.host_name, self.session.extended_smtp = argument, False
        await self.hello()

    async def smtp_RSET(self, argument):
        if argument is not None:
            raise Refused("501 5.5.4 No parameters")
        self.reset()
        await self.push("250 2.0.0 Reset")

    async def smtp_NOOP(self, argument):
        await self.push("250 2.0.0 Ok")

    async def smtp_VRFY(self, argument):
        await self.push("252 2.5.0 Send it, and it is seen")

    async def smtp_QUIT(self, argument):
        if argument is not None:
            raise Refused("501 5.5.4 No parameters")
        self.over = True
        await self.push("221 2.0.0 Bye")

    # --------------------------------------------------- the envelope

    async def smtp_MAIL(self, argument):
        if self.session.host_name is None or self.transaction is not None:
            raise Refused(SEQUENCE)
        path, rest = grammar.path(argument, "FROM:", "501 5.5.4 MAIL FROM:<address>")
        given = grammar.parameters(rest, grammar.MAIL if self.session.extended_smtp else grammar.MAIL_PLAIN)
        if int(given.get("SIZE") or 0) > self.service.options.size:
            raise Refused("552 5.3.4 Too large")
        mail = {"path": path, "parameters": given}
        scope = ("ehlo", self.session.host_name.lower(), self.session.peer[0], "clear")
        owner = self.store.key(scope, path)
        if "TRANSID" not in given:
            hold, reply = Hold(self.store, None), None
        else:
            pipelined = self.pending()  # behind a MAIL with TRANSID there may be nothing
            try:
                hold = self.store.claim(self.store.key(scope, given["TRANSID"]))
            except Unreadable:
                raise Refused("451 4.3.0 The record cannot be read") from None
            reply = self._restart(hold, mail, pipelined)
        self.transaction = Transaction(mail, hold, restarts=reply is not None)
        if reply is None:
            hold.record = Record(mail, owner)
            reply = "250 2.1.0 Sender ok"
        else:
            self.transaction.early = len(self._reader._buffer)
        await self.push(reply)

    def _restart(self, hold, mail, pipelined):
        """The 355, or None where the transaction starts afresh."""
        record = hold.record
        if record is None:
            return None
        complete = record.state == "committed" or hold.key in self.store.decisions
        if not complete and (not record.stored or pipelined or not continues(record, mail)):
            return None
        if not continues(record, mail):
            raise Refused("503 5.5.1 This transaction began with another MAIL")
        if self.service.options.wordy:
            return f"355-{record.stored}\tis the offset,\r\n355-17 is not,\r\n355 0"
        return f"355 {record.stored} is the transaction offset"

    async def smtp_RCPT(self, argument):
        transaction = self.transaction
        if transaction is None or transaction.kind is not None or transaction.spoiled:
            raise Refused(SEQUENCE)
        path, rest = grammar.path(argument, "TO:", "501 5.5.4 RCPT TO:<address>")
        rcpt = {"path": path, "parameters": grammar.parameters(rest, grammar.RCPT if self.session.extended_smtp else {})}
        if transaction.restarts:
            return await self.push(self._repeat(rcpt))
        rcpt["reply"] = self.service.recipient(path)
        if rcpt["reply"].startswith("2") and transaction.replaces:
            transaction.hold.begin(transaction.hold.record)
            transaction.replaces = False
        transaction.hold.record.rcpts.append(rcpt)
        await self.push(rcpt["reply"])

    def _repeat(self, rcpt):
        """The reply that was given to this recipient."""
        transaction = self.transaction
        known = transaction.hold.record.rcpts
        places = [at for at, one in enumerate(known) if grammar.same_rcpt(one, rcpt)]
        if not places:
            return "553 5.5.1 Not a recipient of the transaction that goes on"
        later = [at for at in places if at >= transaction.repeated]
        if not later:
            return "503 5.5.1 Recipients are repeated in their order"
        transaction.repeated = later[0] + 1
        return known[later[0]]["reply"]

    # ----------------------------------------------------- the content

    def _may_send(self, kind):
        """Whether a data command is in its place; gives what it does to a restart of a complete message."""
        transaction = self.transaction
        record = transaction.hold.record
        complete = record.state == "committed" or transaction.hold.key in self.store.decisions
        if not record.accepted():
            raise Refused("554 5.5.1 No valid recipients")
        if not complete:
            mixes = record.kind not in (None, kind)
            # An empty data command of either kind asks for the reply to a whole message.
            if mixes or transaction.kind not in (None, kind):
                raise Refused("503 5.5.1 DATA and BDAT do not mix")
            if transaction.kind is None:
                try:
                    transaction.hold.confirm()
                except WrongLength:
                    self.transaction = None
                    raise Refused("451 4.3.0 What was stored is not there any more") from None
        return complete

    def _start(self, kind, complete):
        self.transaction.kind = kind
        if not complete:
            self.transaction.hold.record.kind = kind

    async def _take(self, octets):
        """Octets of the data phase, up to the point where the test ends them."""
        transaction = self.transaction
        end = self.wire.octets_until("data")
        room = None if end is None else end - transaction.received
        transaction.received += len(octets)
        return (octets, False) if room is None or len(octets) < room else (octets[:max(room, 0)], True)

    async def smtp_DATA(self, argument):
        transaction = self.transaction
        if argument is not None:
            raise Refused("501 5.5.4 No parameters")
        if transaction is None or transaction.kind is not None or transaction.spoiled:
            raise Refused(SEQUENCE)
        complete = self._may_send("DATA")
        self.check_120("DATA")
        self._start("DATA", complete)
        await self.push("354 Send the message, and a dot")
        sink = Sink(self, complete)
        line_start = True  # of a line that a CRLF ended
        previous = b""
        while True:
            octets, ends = await self._take(await self.piece())
            if line_start and octets == b".\r\n":
                break
            content = octets[1:] if line_start and octets.startswith(b".") else octets
            line_start = (previous[-1:] + octets).endswith(b"\r\n")
            previous = octets
            # A last piece without its line end may be half of the final dot.
            if content and (line_start or not (self._reader.at_eof() or ends)):
                sink.put(content, len(content) if line_start else None)
            if ends:
                await self.reached("data")
            if not octets:
                raise Gone
        if ends:
            await self.reached("data")
        await self.end_of_data("DATA", sink)

    async def smtp_BDAT(self, argument):
        transaction = self.transaction
        chunk = grammar.chunk(argument)
        if chunk is None:
            self.over = True  # where the next command begins cannot be told
            raise Refused("501 5.5.4 Bad chunk-size")
        left, last = chunk
        refused, complete = None, False
        if transaction is None or transaction.kind == "DATA":
            refused = SEQUENCE
        else:
            try:
                # Where a chunk goes on was not known when it was sent before the 355 came.
                if transaction.spoiled or transaction.early >= 0 and transaction.restarts:
                    raise Refused(SEQUENCE)
                complete = self._may_send("BDAT")
                if last:
                    self.check_120("BDAT")
                self._start("BDAT", complete)
            except Refused as error:
                refused, transaction.spoiled = error.reply, True
        if transaction is not None:
            await self._count_command(argument)
        sink = Sink(self, complete) if refused is None else None
        while left:
            octets = await self._reader.read(min(left, 65536))
            left -= len(octets)
            if not octets:
                raise Gone
            ends = False
            if transaction is not None:
                octets, ends = await self._take(octets)
            if sink is not None:
                sink.put(octets, len(octets))
            if ends:
                await self.reached("data")
        if refused is not None:
            if last and transaction is not None:
                self.transaction = None
                self.store.let_go(transaction.hold)
            raise Refused(refused)
        if last:
            await self.end_of_data("BDAT", sink)
        elif sink.refusal:
            transaction.spoiled = True
            raise Refused(sink.refusal)
        else:
            await self.push("250 2.0.0 Chunk taken")

    async def _count_command(self, argument):
        _, ends = await self._take(f"BDAT {argument}\r\n".encode())
        if ends:
            await self.reached("data")

    async def end_of_data(self, verb, sink):
        transaction = self.transaction
        hold = transaction.hold
        hold.check()
        if sink.refusal:
            if not sink.complete:
                hold.discard()
            self.transaction = None
            raise Refused(sink.refusal)
        hold.awaits = True
        if hold.record.state == "committed":
            return await self.final()
        transaction.decision = self.store.decisions.get(hold.key)
        if transaction.decision is None:
            transaction.decision = self.store.decide(hold)
            self.service.decide(transaction.decision)
        await self.answer(verb)

    async def final(self):
        """The retained reply, or the one that has just been decided."""
        transaction = self.transaction
        hold, record = transaction.hold, transaction.hold.record
        hold.check()
        await self.reached("final")
        await self.push(retained(record))
        self.transaction = None
        hold.awaits = False
        hold.check()
        self.store.told(hold)
        if transaction.restarts and record.reply.startswith("4") and not record.reported:
            self.store.forget(hold.key)  # given once more, and nothing was delivered


class Sink:
    """Where the octets of one data command go."""

    def __init__(self, session, complete):
        self.session, self.complete, self.refusal = session, complete, None
        self.unsynced = 0

    def put(self, octets, line_start):
        options, hold = self.session.service.options, self.session.transaction.hold
        if self.complete:
            self.refusal = "554 5.5.0 The message is complete already"
        elif hold.record.stored + len(octets) > options.size:
            self.refusal = "552 5.3.4 Too large"
        if self.refusal:
            return
        hold.append(octets, line_start)
        self.unsynced += len(octets)
        if self.unsynced >= options.checkpoint_every:
            hold.checkpoint()
            self.unsynced = 0

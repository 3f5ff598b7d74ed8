"""RDLV, CONT and DETA in the server: what happens between the end of the data and its reply."""

import asyncio

from . import grammar
from .grammar import Refused
from .wire import say

MARGIN = 7.0
SEQUENCE = "503 5.5.1 Bad sequence of commands"


def margin(maxtimer):
    return min(MARGIN, maxtimer / 2)


class LongSubmission:
    """The part of a session that a long decision needs."""

    def keywords(self):
        options = self.service.options
        if options.rdlv is not None:
            yield f"RDLV mintimer={options.rdlv}"
        if options.deta:
            yield "DETA"

    def verbs(self):
        options = self.service.options
        return (["RDLV", "CONT"] if options.rdlv is not None else []) + (["DETA"] if options.deta else [])

    async def smtp_RDLV(self, argument):
        maxtimer = grammar.maxtimer(argument)
        if maxtimer < self.service.options.rdlv:
            raise Refused("501 5.5.4 Below mintimer")
        if self.transaction is None:
            raise Refused(SEQUENCE)
        self.transaction.maxtimer = maxtimer
        await self.push("250 2.0.0 Reliable delivery")

    async def smtp_CONT(self, argument):
        raise Refused("501 5.5.4 No parameters" if argument is not None else SEQUENCE)

    smtp_DETA = smtp_CONT

    def check_120(self, verb):
        """Whether the verb that ends the message can be answered with 120, if that was asked for."""
        if self.transaction.maxtimer is not None and verb in self.service.options.no_120_for:
            self.transaction.maxtimer = None
            raise Refused(f"520 5.3.3 No RDLV for {verb}")

    async def answer(self, verb):
        """Waits for the decision, and gives the final reply or a 120."""
        transaction, loop = self.transaction, self.service.loop
        decision, ticked = transaction.decision, None
        transaction.verb = verb
        begun = loop.time()
        try:
            while not decision.done.done():
                waits, left = {decision.done}, None
                if not self.gone.done():
                    waits.add(self.gone)
                elif not self.pending():
                    return self.cut()
                if transaction.maxtimer is not None:
                    left = max(0.0, begun + transaction.maxtimer - margin(transaction.maxtimer) - loop.time())
                    ticked = ticked or asyncio.ensure_future(self.wire.tick.wait())
                    waits.add(ticked)
                done, _ = await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if done - {ticked} or transaction.maxtimer is None:
                    continue
                self.wire.tick.clear()
                ticked = None
                if self.pending():
                    transaction.maxtimer = None  # somebody who pipelines does not expect a 120
                    continue
                return await self._120(transaction)
        finally:
            if ticked is not None:
                ticked.cancel()
        if not decision.done.result():
            return self.cut()  # withdrawn: another session's doing
        await self.final()

    async def _120(self, transaction):
        transaction.hold.check()
        transaction.open = True
        await self.push(f"120 {transaction.verb} processing in progress")
        transaction.patience = self.service.loop.time() + transaction.maxtimer + margin(transaction.maxtimer)
        self._wait_for_cont(transaction)
        say("120")
        await self.reached("120")

    def _wait_for_cont(self, transaction):
        self._reset_timeout(max(0.001, transaction.patience - self.service.loop.time()))

    async def behind_120(self, verb, argument):
        """The answer to a 120."""
        transaction = self.transaction
        try:
            if verb in ("CONT", "RSET", "QUIT", "DETA") and argument is not None:
                raise Refused("501 5.5.4 No parameters")
            if verb == "CONT":
                transaction.open = False
                return await self.answer(transaction.verb)
            if verb == "DETA" and self.service.options.deta:
                return await self._detach(transaction)
            if verb in ("RSET", "EHLO", "HELO"):
                return await self._abort(verb, argument)
            if verb == "QUIT":
                self.over = True
                return await self.push("221 2.0.0 Bye")
            raise Refused("502 5.5.1 Not offered" if verb == "DETA" else SEQUENCE)
        except Refused as refused:
            await self.push(refused.reply)
            self._wait_for_cont(transaction)

    async def _detach(self, transaction):
        record = transaction.hold.record
        transaction.hold.check()
        if not transaction.decision.done.done() and self.store.detached_of(record.owner) >= self.service.options.detached_limit:
            say("over the limit")
            raise Refused("450 4.7.1 Too many detached submissions")
        self.transaction, self.over = None, True
        transaction.hold.awaits = False
        self.store.detach(transaction.hold, transaction.decision)
        say("detached")
        await self.reached("detached")
        await self.push(f"221 2.0.0 {self.hostname} goes on without you")

    async def _abort(self, verb, argument):
        if verb != "RSET" and argument is None:
            raise Refused("501 5.5.4 A name is missing")
        transaction = self.transaction
        transaction.hold.check()
        self.transaction = None
        aborted = self.store.withdraw(transaction.decision)
        if aborted:
            transaction.hold.discard()
            say("aborted")
        else:
            self.store.let_go(transaction.hold)
        if verb == "RSET":
            return await self.push("250 2.0.0 Nothing is delivered" if aborted else "554 5.5.0 Too late")
        self.session.host_name, self.session.extended_smtp = argument, verb == "EHLO"
        await self.hello()

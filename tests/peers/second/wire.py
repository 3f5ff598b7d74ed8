"""How the server is told what to do, and tells what happens: JSON lines on its two pipes.

In:  {"verdict": {"*": "250 2.0.0 Ok", "bob@example.net": "550 5.7.1 No"}}  of the oldest decision
     {"tick": true}  the interval before a 120 is over now
     {"at": POINT, "do": "cut" | "die" | "stall" | "pause", "after": N}  once, when the point is reached
     {"go": true}    a stalled session goes on, to be cut; one that pauses goes on
     {"sync": true}  answered by the event "sync": what was said before it is old

POINT is `data` (so many octets after the 354, or from the first BDAT on), `deciding`, `committed`,
`final` (the reply is about to be written), `120` (it has been written) or `detached` (between
DETA and 221). At `deciding` and `committed` there is only "die".

Out: {"event": NAME, ...}, one a line, in the order of what happened.
"""

import asyncio
import json
import os
import signal
import sys


def say(event, **more):
    sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
    sys.stdout.flush()


class Wire:
    def __init__(self):
        self.hooks = {}
        self.verdicts = asyncio.Queue()
        self.tick, self.go = asyncio.Event(), asyncio.Event()

    def take(self, line):
        told = json.loads(line)
        if "verdict" in told:
            self.verdicts.put_nowait(told["verdict"])
        elif "at" in told:
            self.hooks[told["at"]] = (told["do"], told.get("after", 0))
            say("armed", at=told["at"])
        elif "tick" in told:
            self.tick.set()
        elif "go" in told:
            self.go.set()
        elif "sync" in told:
            say("sync")

    async def listen(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self.take(line)

    def reached(self, point):
        """What to do here, if anything; a point to die at does not return."""
        do, _ = self.hooks.pop(point, (None, 0))
        if do == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return do

    def octets_until(self, point):
        return self.hooks[point][1] if point in self.hooks else None

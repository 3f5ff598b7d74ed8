//! The client: one message, attempt after attempt, until something is told to its caller.

use smtp_checkpoint::checkpoint::{NextStep, RestartPolicy, Sent, Stage, is_decisive};
use smtp_checkpoint::rdlv::{Choice, Outcome, ReplyOutcome};

use crate::fixture::{Journal, LINE, asked, at, content, mark, reply};
use crate::rules::{Rule, Setup};
use crate::server::Session;
use crate::world::{Conn, Down, Run, Up};

/// What the client's caller is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    /// 2yz.
    Accepted,
    /// 4yz: nothing was delivered.
    Deferred,
    /// 5yz: nothing was or will be delivered.
    Refused,
    /// Nothing can have been delivered: send it as a new transaction.
    StartOver,
    /// It may or may not have been delivered.
    Unknown,
    /// 221 to DETA: the server's.
    Detached,
    /// 250 to RSET in answer to 120: nothing was or will be delivered.
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Waits {
    /// No attempt is under way.
    Between,
    Mail {
        /// The envelope is written already.
        grouped: bool,
        /// A 355 came to a transaction of which nothing was sent.
        surprised: bool,
    },
    /// The reply to RSET; MAIL comes next.
    Reset,
    /// The reply to DATA, behind which the lines from here on are sent.
    Data {
        from: u8,
        /// The most that earlier attempts may have sent.
        sent: Sent,
    },
    /// The final reply.
    End,
    /// A 120 was received.
    Interim,
    /// The reply to the answer to 120.
    Chosen(Choice),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Client {
    /// What is durable.
    pub(crate) journal: Journal,
    /// Attempts begun, as in the journal.
    pub(crate) attempts: u8,
    pub(crate) waits: Waits,
    pub(crate) told: Option<Told>,
}

/// What may come next for a client between attempts.
pub(crate) fn next_step(setup: &Setup, client: &Client) -> NextStep {
    let policy = RestartPolicy {
        attempts: setup.attempts.into(),
        ..RestartPolicy::default()
    };
    let transaction = client.journal.transaction();
    if transaction.attempts() >= policy.attempts && !transaction.is_restart() {
        // Without a limit in the crate: nothing was sent.
        return NextStep::StartOver;
    }
    transaction.next_step(1, &policy, &content(setup.lines))
}

impl Run<'_> {
    /// An attempt begins.
    pub(crate) fn connect(&mut self, host: u8, grouped: bool) {
        let mut transaction = self.state.client.journal.transaction();
        transaction.begin_attempt();
        let attempt = transaction.attempts() as u8;
        self.state.client.journal = Journal::of(&transaction);
        self.state.client.attempts = attempt;
        let mut up = vec![Up::Mail { followed: grouped }];
        if grouped {
            up.push(Up::Envelope);
            self.mark(Sent::EndOfData);
        }
        self.state.client.waits = Waits::Mail {
            grouped,
            surprised: false,
        };
        self.state.conns.push(Conn {
            attempt,
            here: true,
            up,
            down: Vec::new(),
            session: Some(Session::new(host)),
        });
        let name = self.host_name(host);
        self.say(|| {
            let behind = if grouped {
                ", RCPT and DATA behind it"
            } else {
                ""
            };
            format!("attempt {attempt} on host {name}: MAIL with TRANSID{behind}")
        });
    }

    fn mark(&mut self, sent: Sent) {
        let mut transaction = self.state.client.journal.transaction();
        mark(&mut transaction, sent);
        if self.setup.keeps(Rule::MarkBeforeData) {
            self.state.client.journal = Journal::of(&transaction);
        }
    }

    /// The connection of the attempt, while there is one.
    fn current(&mut self) -> Option<&mut Conn> {
        self.state.conns.iter_mut().find(|conn| conn.here)
    }

    fn write(&mut self, up: impl IntoIterator<Item = Up>) {
        if let Some(conn) = self.current() {
            if conn.session.is_some() {
                conn.up.extend(up);
            }
        }
    }

    /// The client closes, or gives the connection up.
    pub(crate) fn leave(&mut self) {
        self.state.client.waits = Waits::Between;
        if let Some(conn) = self.current() {
            conn.here = false;
            conn.down.clear();
        }
    }

    fn tell(&mut self, told: Told) {
        self.say(|| format!("tells its caller: {told:?}"));
        self.state.client.told = Some(told);
        self.leave();
    }

    /// The connection is lost. A client that crashes knows what its journal holds; one that lives
    /// knows that no end of the data has left.
    pub(crate) fn lose(&mut self, crash: bool) {
        self.say(|| match crash {
            true => "loses the connection, or crashes".into(),
            false => "loses the connection, and knows that no final dot has left".into(),
        });
        if let (false, Waits::Data { sent, .. }) = (crash, self.state.client.waits) {
            // Not what was marked, but what has been sent.
            let mut transaction = Journal::first(self.setup.lines).transaction();
            (0..self.state.client.attempts).for_each(|_| transaction.begin_attempt());
            mark(&mut transaction, sent.max(Sent::Data));
            self.state.client.journal = Journal::of(&transaction);
        }
        self.leave();
    }

    /// It is over for this TRANSID, or the attempts have run out.
    pub(crate) fn give_up(&mut self) {
        match next_step(self.setup, &self.state.client) {
            NextStep::Send => {}
            NextStep::StartOver => self.tell(Told::StartOver),
            NextStep::Unknown => self.tell(Told::Unknown),
        }
    }

    /// This TRANSID leads nowhere.
    fn fruitless(&mut self) {
        let sent = self.state.client.journal.transaction().sent();
        self.tell(match sent {
            Sent::EndOfData => Told::Unknown,
            Sent::Nothing | Sent::Data => Told::StartOver,
        });
    }

    /// Takes the next reply.
    pub(crate) fn receive(&mut self) {
        let Some(down) = self.current().map(|conn| conn.down.remove(0)) else {
            return;
        };
        self.say(|| format!("gets {down}"));
        match (self.state.client.waits, down) {
            (Waits::Mail { grouped, .. }, Down::Code(250)) => self.send_envelope(0, grouped),
            (Waits::Mail { grouped, surprised }, Down::Offset(offset)) => {
                let from = offset / LINE;
                if !self.state.client.journal.transaction().is_restart() {
                    if surprised || grouped {
                        return self.fruitless();
                    }
                    self.say(|| "RSET: it has sent no data under this TRANSID".into());
                    self.state.client.waits = Waits::Reset;
                    return self.write([Up::Rset]);
                }
                if from > u64::from(self.setup.lines) {
                    return self.fruitless();
                }
                self.send_envelope(from as u8, grouped);
            }
            (Waits::Reset, Down::Code(250)) => {
                self.state.client.waits = Waits::Mail {
                    grouped: false,
                    surprised: true,
                };
                self.write([Up::Mail { followed: false }]);
            }
            (Waits::Data { from, .. }, Down::Code(354)) => {
                self.state.client.waits = Waits::End;
                self.write((from..self.setup.lines).map(Up::Line).chain([Up::Dot]));
                self.say(|| format!("sends the message from octet {} on", u64::from(from) * LINE));
            }
            (Waits::End, Down::Code(120)) => self.state.client.waits = Waits::Interim,
            (Waits::End, Down::Code(code)) => self.final_answer(code),
            (Waits::Chosen(choice), Down::Code(code)) => self.chosen(choice, code),
            (_, _) => self.leave(),
        }
    }

    fn send_envelope(&mut self, from: u8, written: bool) {
        let sent = self.state.client.journal.transaction().sent();
        self.state.client.waits = Waits::Data { from, sent };
        if !written {
            self.mark(Sent::EndOfData);
            self.write([Up::Envelope]);
        }
    }

    fn final_answer(&mut self, code: u16) {
        let spends = is_decisive(Stage::EndOfData, &reply(code))
            || code == 421 && !self.setup.keeps(Rule::FinalReplyDecides);
        if !spends {
            return self.leave();
        }
        self.tell(match code / 100 {
            2 => Told::Accepted,
            4 => Told::Deferred,
            _ => Told::Refused,
        });
    }

    /// Answers the 120 that is open.
    pub(crate) fn choose(&mut self, choice: Choice) {
        let line = asked().choose(at(2), choice).expect("a 120 is open");
        self.say(|| {
            format!(
                "answers {}",
                line.as_bytes().trim_ascii_end().escape_ascii()
            )
        });
        self.state.client.waits = match choice {
            Choice::CarryOn => Waits::End,
            choice => Waits::Chosen(choice),
        };
        self.write([match choice {
            Choice::CarryOn => Up::Cont,
            Choice::Detach => Up::Deta,
            Choice::Abort => Up::Rset,
        }]);
    }

    fn chosen(&mut self, choice: Choice, code: u16) {
        let mut machine = asked();
        let _ = machine.choose(at(2), choice);
        match machine.handle_reply(at(3), &reply(code)) {
            ReplyOutcome::Over(Outcome::Detached) => self.tell(Told::Detached),
            ReplyOutcome::Over(Outcome::Aborted) => self.tell(Told::Aborted),
            // A restart tells.
            _ => self.leave(),
        }
    }
}

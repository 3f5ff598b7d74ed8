//! RDLV and DETA in a server session.

use smtp_checkpoint::rdlv::{self, CommandOutcome, DetaOutcome, Progress, ResetEnding, Verb};

use crate::fixture::{SETTINGS, Seen, at, delaying, verdict};
use crate::owner::Detached;
use crate::server::{Goes, Session};
use crate::world::{Down, Run, Up};

/// What RDLV is doing behind the end of the data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Delay {
    /// Not asked for.
    Never,
    /// A 120 will be due.
    Counting,
    /// A 120 is open.
    Open,
    /// A 120 is open, and the final reply is held.
    Held(u16),
}

/// RDLV in this session.
pub(crate) fn machine(session: &Session) -> rdlv::Server {
    let held = match session.delay {
        Delay::Held(code) => Some(rdlv::Decision::from(&verdict(code))),
        _ => None,
    };
    let machine = delaying(matches!(session.delay, Delay::Open | Delay::Held(_)), held);
    debug_assert_eq!(
        machine.progress(),
        Some(held.map_or(Progress::Running, Progress::Decided))
    );
    machine
}

impl Run<'_> {
    /// A 120 is due.
    pub(crate) fn due(&mut self, conn: usize, session: &mut Session) {
        let due = machine(session).due(at(60), rdlv::Following::Nothing);
        assert_eq!(due, rdlv::Due::Send);
        session.delay = Delay::Open;
        self.send(conn, Down::Code(120));
    }

    /// CONT, DETA or RSET.
    pub(crate) fn answer_to_120(&mut self, conn: usize, session: &mut Session, up: Up) -> Goes {
        let mut machine = machine(session);
        let verb = match up {
            Up::Cont => Verb::Cont,
            Up::Deta => Verb::Deta,
            _ => Verb::Rset,
        };
        let (setup, host, seen) = (self.setup, session.host, session.seen().clone());
        let settled = match machine.command(at(61), verb) {
            CommandOutcome::Continue => {
                session.delay = Delay::Counting;
                self.say(|| "CONT: the decision goes on".into());
                return Goes::On;
            }
            CommandOutcome::GiveHeld => {
                let Delay::Held(code) = session.delay else {
                    panic!("nothing held");
                };
                if !self.state.stores.holds(host, &seen) {
                    self.say(|| "CONT: outdated".into());
                    return self.close(conn);
                }
                *session = Session::new(host);
                self.say(|| "CONT: the reply that was held".into());
                return self.final_reply(conn, code);
            }
            CommandOutcome::AskDetach(_) => {
                let answer = self.state.stores.own(setup, host, &seen);
                self.say(|| format!("DETA: {answer:?}"));
                return match machine.detach(at(61), answer) {
                    DetaOutcome::Detached(_) => {
                        self.reply(conn, 221);
                        Goes::Over
                    }
                    DetaOutcome::Outdated => self.close(conn),
                    other => panic!("{other:?}"),
                };
            }
            CommandOutcome::AskAbort => {
                let answer = self.state.stores.abort(setup, host, &seen);
                machine.reset(answer).expect("a reset is being answered")
            }
            CommandOutcome::Settled(settled) => settled,
            other => panic!("{other:?} to {verb:?}"),
        };
        self.say(|| format!("RSET: {:?}", settled.ending));
        if settled.ending == ResetEnding::Outdated || !self.may_end(host, &seen, settled) {
            return self.close(conn);
        }
        if settled.ending == ResetEnding::AlreadyRefused {
            // Told, as by a final reply.
            self.state.stores.shared.detached = Detached::No;
        }
        let reply = settled.reply(&SETTINGS).expect("RSET is answered");
        *session = Session::new(host);
        self.reply(conn, reply.code().get())
    }

    /// Whether what a reset came to may still be told: the store was asked, or the claim holds.
    fn may_end(&self, host: u8, seen: &Seen, settled: rdlv::Settled) -> bool {
        settled.ending == ResetEnding::Aborted || self.state.stores.holds(host, seen)
    }
}

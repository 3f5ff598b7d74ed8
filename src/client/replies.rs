//! Replies: each is checked against the command that it answers.

use super::attempt::AfterReset;
use super::config::TlsPolicy;
use super::event::{ChallengeQuestion, Ending, Event, RecipientVerdict};
use super::state::{Phase, Step};
use super::{ClientSession, Expect};
use crate::checkpoint::{Cause, Outcome, Stage};
use crate::command::{CommandLine, base64};
use crate::ehlo::Capabilities;
use crate::error::PeerError;
use crate::protocol::Protocol;
use crate::rdlv::Repeat;
use crate::reply::{Reply, Severity};
use crate::time::Timestamp;

impl ClientSession {
    pub(super) fn take_reply(&mut self, now: Timestamp, reply: Reply) {
        self.since = now;
        if reply.code().get() == 421 {
            return self.closed_by_server(now, reply);
        }
        let front = self.owed.front().copied();
        let due = front.filter(|owed| self.output.may_have_left(owed.behind));
        let Some(owed) = due else {
            // Behind the end of the data it is CONT that has not left, and nothing can be refused.
            let end = self.attempt.as_ref().and_then(|attempt| attempt.end);
            let awaits_end = matches!(
                front.map(|owed| owed.to),
                None | Some(Expect::Chunk | Expect::Final(_))
            ) && !end.is_some_and(|end| self.output.may_have_left(end));
            return match reply.severity() {
                Severity::TransientFailure | Severity::PermanentFailure
                    if awaits_end && matches!(self.phase, Phase::Content | Phase::Final) =>
                {
                    self.refused_early(reply);
                }
                _ => self.fail(PeerError::UnsolicitedReply),
            };
        };
        // 1yz answers the end of the data under RDLV, and nothing else.
        let is_preliminary = reply.severity() == Severity::Preliminary;
        if is_preliminary && !matches!(owed.to, Expect::Final(_)) {
            return self.fail(PeerError::UnexpectedReply);
        }
        self.owed.pop_front();
        match owed.to {
            Expect::Greeting => self.on_greeting(now, reply),
            Expect::Ehlo | Expect::Helo => self.on_hello(now, owed.to, reply),
            Expect::StartTls => self.on_starttls(now, reply),
            Expect::Sasl => self.on_sasl(now, reply),
            Expect::Mail => self.on_mail(now, reply),
            Expect::Rcpt(index) => self.on_rcpt(now, index, reply),
            Expect::Rdlv => self.on_rdlv(now, reply),
            Expect::Data => self.on_data(now, reply),
            Expect::Chunk => self.on_chunk(now, reply),
            Expect::Final(index) => self.on_final(now, index, reply),
            Expect::Detach => self.on_detach(now, reply),
            Expect::Abort => self.on_abort(now, reply),
            Expect::LoneDot => self.on_lone_dot(now),
            Expect::Reset => self.on_reset(now, reply),
            Expect::Own => {
                self.step(Step::Ready);
                self.events.push_back(Event::CommandReply(reply));
            }
            Expect::Quit => self.close(self.ending),
        }
    }

    /// 421, in answer to anything or to nothing (RFC 5321 §3.8).
    fn closed_by_server(&mut self, now: Timestamp, reply: Reply) {
        if self.is_deferred_by_closing(now, &reply) {
            self.tell(Outcome::Deferred { reply });
            return self.close(Ending::Closed);
        }
        match self.phase {
            Phase::Quitting => return self.close(self.ending),
            Phase::Greeting | Phase::Hello => self.events.push_back(Event::Rejected(reply.clone())),
            _ => {}
        }
        self.interrupt(Cause::Closed(reply.compact()), Ending::Closed);
    }

    fn on_greeting(&mut self, now: Timestamp, reply: Reply) {
        match reply.severity() {
            Severity::Completion => self.say_hello(now),
            Severity::TransientFailure | Severity::PermanentFailure => self.rejected(now, reply),
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    pub(super) fn say_hello(&mut self, now: Timestamp) {
        self.step(Step::Hello);
        let line = match self.config.protocol {
            Protocol::Smtp => CommandLine::ehlo(&self.config.name),
            Protocol::Lmtp => CommandLine::lhlo(&self.config.name),
        };
        self.command(now, line.as_bytes(), Expect::Ehlo);
    }

    fn on_hello(&mut self, now: Timestamp, to: Expect, reply: Reply) {
        let falls_back = to == Expect::Ehlo && self.config.protocol == Protocol::Smtp;
        match reply.severity() {
            Severity::Completion => {
                self.capabilities = if to == Expect::Ehlo {
                    let reply = reply.compact();
                    Capabilities::from_reply(&reply, &self.config.limits).unwrap_or_default()
                } else {
                    Capabilities::default()
                };
                self.after_hello(now);
            }
            Severity::PermanentFailure if falls_back => {
                self.step(Step::Hello);
                let line = CommandLine::helo(&self.config.name);
                self.command(now, line.as_bytes(), Expect::Helo);
            }
            Severity::TransientFailure | Severity::PermanentFailure => self.rejected(now, reply),
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    fn after_hello(&mut self, now: Timestamp) {
        if self.tls || self.config.tls == TlsPolicy::Never {
            return self.ready();
        }
        if self.capabilities.starttls() {
            self.step(Step::StartTls);
            self.command(now, CommandLine::starttls().as_bytes(), Expect::StartTls);
        } else {
            self.without_tls(now);
        }
    }

    fn on_starttls(&mut self, now: Timestamp, reply: Reply) {
        match reply.severity() {
            Severity::Completion => {
                self.step(Step::TlsAccepted);
                self.events.push_back(Event::TlsHandover);
            }
            Severity::TransientFailure | Severity::PermanentFailure => self.without_tls(now),
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    /// TLS is not to be had: policy decides.
    fn without_tls(&mut self, now: Timestamp) {
        if self.config.tls == TlsPolicy::Required {
            self.say_quit(now, Ending::NoTls);
        } else {
            self.ready();
        }
    }

    pub(super) fn ready(&mut self) {
        self.step(Step::Ready);
        self.events.push_back(Event::Ready);
    }

    fn rejected(&mut self, now: Timestamp, reply: Reply) {
        self.events.push_back(Event::Rejected(reply));
        self.say_quit(now, Ending::Rejected);
    }

    fn on_sasl(&mut self, now: Timestamp, reply: Reply) {
        let initial = self.initial.take();
        match reply.severity() {
            Severity::Completion if self.claimed.is_some() => {
                self.identity = self.claimed.take();
                self.events.push_back(Event::Authenticated(reply));
                self.ready();
            }
            Severity::TransientFailure | Severity::PermanentFailure => {
                self.claimed = None;
                self.events.push_back(Event::AuthRefused(reply));
                self.ready();
            }
            // What was cancelled has to be refused (RFC 4954 §4).
            _ if self.claimed.is_none() => self.fail(PeerError::UnexpectedReply),
            _ => match base64::decode(reply.first_line()) {
                Ok(challenge) => {
                    if let (Some(initial), []) = (initial, &challenge[..]) {
                        let response = base64::encode(&initial.0);
                        return self.command(now, &response, Expect::Sasl);
                    }
                    let token = self.tokens.issue();
                    self.open = Some(token.number());
                    self.step(Step::Challenge);
                    self.events
                        .push_back(Event::AuthChallenge(ChallengeQuestion {
                            token,
                            challenge: challenge.into(),
                        }));
                }
                Err(_) => {
                    // RFC 4954 §4: a challenge that cannot be read cancels the exchange.
                    self.events.push_back(Event::PeerFault(PeerError::Base64));
                    self.claimed = None;
                    self.command(now, b"*", Expect::Sasl);
                }
            },
        }
    }

    fn on_rcpt(&mut self, now: Timestamp, index: usize, reply: Reply) {
        if reply.severity() == Severity::Intermediate {
            return self.fail(PeerError::UnexpectedReply);
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if attempt.declined.is_some() {
            // MAIL was refused, and this RCPT stood in its group.
            return self.drained(now);
        }
        attempt.transaction.recipient_answered(index, &reply);
        let verdict = RecipientVerdict::of(&reply);
        self.events.push_back(Event::Recipient {
            index,
            reply,
            verdict,
        });
        self.advance(now);
    }

    fn on_chunk(&mut self, now: Timestamp, reply: Reply) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        match reply.severity() {
            _ if attempt.declined.is_some() || attempt.repeat.is_some() => self.drained(now),
            _ if attempt.rdlv.is_some() && reply.code().get() == 520 => {
                self.not_possible(Repeat::Transaction, Stage::Content, 0, reply);
                self.stop_content();
                self.step(Step::Drain);
                self.drained(now);
            }
            Severity::Completion => {
                self.flush_chunks(now);
            }
            Severity::TransientFailure | Severity::PermanentFailure => {
                attempt.declined = Some((Stage::Content, reply.compact()));
                self.step(Step::Drain);
                self.drained(now);
            }
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    fn on_reset(&mut self, now: Timestamp, reply: Reply) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let is_reset = reply.severity() == Severity::Completion;
        let next = core::mem::replace(&mut attempt.after_reset, AfterReset::MailAgain);
        match next {
            AfterReset::Conclude(outcome) => self.conclude(now, *outcome, is_reset),
            AfterReset::MailAgain if is_reset => {
                attempt.start_again();
                self.begin_group(now);
            }
            AfterReset::MailAgain => {
                let outcome = self.undecided(Cause::Answered(Stage::Reset, reply.compact()));
                self.conclude_with(now, outcome, false);
            }
        }
    }
}

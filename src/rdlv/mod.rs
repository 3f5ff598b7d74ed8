//! RDLV and DETA: a server that says "still working on it", a client that waits or hangs up.
//!
//! Layer 3: usable without the sessions. After draft-burger-smtp-rdlv-01 and
//! draft-burger-smtp-deta-00; where these leave a hole, the methods say what is done.
//!
//! ```text
//! C: RDLV maxtimer=30          S: 250                  the transaction may take its time
//! C: DATA ... .                S: 120 (within 30 s)    still in progress
//! C: CONT                      S: 120 (within 30 s)    still in progress
//! C: DETA                      S: 221                  the server owns the message from here on
//! ```
//!
//! * [`Server`] is the server's side: commands, decisions and time in; replies to give and
//!   questions to ask out.
//! * [`Client`] is the client's side: replies and time in; what to send, or what became of the
//!   message, out. [`Policy`] makes its choices.
//! * [`Limiter`] bounds the detached submissions of each sender.
//!
//! Which delivery status notifications a detached message owes is told by [`dsn`](crate::dsn).
//! Neither machine has a clock: every call that needs the time is given it, and `poll_timeout`
//! tells when the next one is due.
//!
//! What follows is the whole of it on the server, in one place. The server session does it all but
//! for what stands under *the caller's*; an engine of your own does it with [`Server`] and
//! [`checkpoint`](crate::checkpoint).
//!
//! # From the end of the data to the final reply
//!
//! ```text
//!   end of data                 due                        transmitted
//!  ─────────────► decision runs ───► 120 written ─────────────────────► 120 open ──┐
//!                   │        ▲                                                     │
//!                   │        └── CONT, nothing decided ────────────────────────────┤
//!                   ▼                                                              │
//!              final reply ◄── CONT, decided: the reply that was held ─────────────┤
//!                                                                                  │
//!  221, closed ◄── owned ◄── DETA ─────────────────────────────────────────────────┤
//!                  refused: 4yz, the 120 stays open ───────────────────────────────┤
//!  its reply ◄── stopped, or too late ◄── RSET, EHLO, HELO ────────────────────────┤
//!  221, closed ◄── QUIT;   closed without a reply ◄── no CONT in time ─────────────┘
//! ```
//!
//! | while | comes | reply | the caller's | then |
//! | --- | --- | --- | --- | --- |
//! | the decision runs | maxtimer less the margin | 120, unless input follows | | a 120 is open |
//! | | the decision | final | | the transaction is over |
//! | | a lost connection | | with a record the decision goes on, without one: abandon? | over |
//! | a 120 is open | the decision | none, it is held | commit as ever | still open |
//! | | CONT | none, or the final reply that is held | | the decision runs, or over |
//! | | DETA | 221, 450, 451 | own the message? | closed, or still open |
//! | | RSET | 250, or 554 too late | stop the decision? | over |
//! | | EHLO, HELO | as ever | stop the decision? | over |
//! | | QUIT | 221 | as for a lost connection | closed |
//! | | no CONT for maxtimer and the margin | none | as for a lost connection | closed |
//! | | another verb 503, a line that cannot be read 500 or 501 | | | still open |
//! | a reply is held | RSET, EHLO, HELO | 554 if it was an acceptance, 250 if a refusal | *not delivered* | over |
//! | | QUIT, no CONT in time, a lost connection | 221, none, none | *not delivered* | closed |
//!
//! *Not delivered* is an event: the decision stands and its reply was not given. With a record a
//! restart asks for it; without one the client will probably send an accepted message again.
//! While a question is open no command is read and no 120 is written; it outlives its session, and
//! its documentation says what to do about it then.
//!
//! The 120 is counted from the end of the data or from CONT: for DATA from the final dot, for BDAT
//! from the last octet of the last chunk, for BURL from the line of the last URL, so also while its
//! content is being fetched. DETA then waits until all is in; RSET needs to ask nobody. In LMTP a
//! 120 comes only before the first of the final replies.
//!
//! # Who tells the sender
//!
//! As long as a client waits, the final reply tells it, and the client tells the sender. After 221
//! to DETA nobody waits: the *duty* is the server's, to decide also after a crash, and to report a
//! failure by a DSN. [`Record::duty`] is the one place to ask what is due; it is due where no
//! session holds the key.
//!
//! ```text
//!                       DETA: owned                   failure committed
//!  the client's duty ─────────────► detached, no ───────────────────────► detached, ──► reported
//!        ▲                          decision yet                          failed        by DSN
//!        │                               │  accepted, or nobody wants a DSN  │            │
//!        │                               └──────► nothing to report          │            │
//!        │                                             │                     │            │
//!        │  restart: as it is                          │                     │            │
//!        ├─────────────────────────────────────────────┘                     │            │
//!        │  restart: asks and waits; final reply transmitted                 │            │
//!        ├───────────────────────────────────── (also without decision) ─────┘            │
//!        │  restart: 250, reported by DSN                                                 │
//!        └────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # A client that comes back
//!
//! A restart of a detached transaction is answered 355 with the size of the whole message, and
//! never 250; its client sends an empty data command. Nothing changes by that: the duty stays the
//! server's until the final reply **has been transmitted**, which the session tells with an event,
//! and the caller stores [`Record::take_back`] then. If the
//! session ends without that event, for whatever reason, even by a crash, the message is detached
//! as it was, and what has become due meanwhile is due as soon as the claim has ended.
//!
//! What the outcome is, is asked at the end of the data, as for a decision under way, where the
//! server still has a duty; the store answers in the step in which it also knows that this session
//! holds the key. So each order of things has one outcome:
//!
//! | the decision | the session that came back | outcome |
//! | --- | --- | --- |
//! | comes while it waits | transmits the reply | the client has it; nothing is reported |
//! | comes while it waits | is lost, or leaves, before the reply is transmitted | detached again: a failure is reported when the claim ends |
//! | was a failure, not yet reported | asks first | it holds the key, so the DSN waits for its end, as above |
//! | was a failure, not yet reported | asks after the DSN was issued | 250 2.0.0, reported by DSN; in LMTP for the recipients that it reports |
//! | was a failure, reported | comes after it | the same |
//! | was an acceptance, or a failure for which none is owed | any time | the reply as it is |
//! | comes any time | answers a 120 with DETA again | 221; detached as it was |
//! | comes any time | answers a 120 with RSET | stopped and discarded if that is still possible; else detached as it was |
//! | comes any time | another session claims the key before the reply is transmitted | superseded: closed without the reply, and the other one asks |
//! | is withdrawn | waits | this session's question begins it anew |
//! | cannot be stored | waits | closed with 421, for it is made again: detached again |
//! | is withdrawn | is gone | [`Duty::Decide`]: the caller begins it anew |
//!
//! Replies that are all 4yz are given once more and then dropped (nothing was delivered), but not
//! before the duty has ended; with any 2yz or an issued DSN the record stays.
//!
//! [`Record::duty`]: crate::checkpoint::Record::duty
//! [`Record::take_back`]: crate::checkpoint::Record::take_back
//! [`Duty::Decide`]: crate::checkpoint::Duty::Decide

mod client;
mod client_state;
#[cfg(test)]
mod interleave_tests;
mod limiter;
mod outcome;
mod policy;
mod server;
mod server_state;
mod settings;

pub use crate::line::Following;
pub use client::{Client, ClientSettings, DetachOffer, NotOffered};
pub use client_state::{
    Choice, ClientTimeout, EndingVerb, Lost, NotYourTurn, Outcome, Repeat, ReplyOutcome, Sending,
    UnknownBecause,
};
pub use limiter::{Finish, Grant, Limiter, LimiterBounds};
pub use outcome::{
    CommandOutcome, DecidedOutcome, DetaOutcome, DetachAnswer, Due, Gone, Reading, RequestOutcome,
    ResetAnswer, ResetEnding, Settled, Submission, SubmissionOutcome, Verb, Within,
};
pub use policy::{Policy, Then};
pub use server::Server;
pub use server_state::{Decision, Progress, Reset};
pub use settings::{ServerSettings, SettingsError};

use core::time::Duration;

use crate::command::MAX_TIMER;

/// The margin for transit: 7 seconds, as draft-burger-smtp-rdlv-01 §3.2.1 and §3.2.2 suggest.
pub const DEFAULT_MARGIN: Duration = Duration::from_secs(7);

/// A number of seconds as the draft allows it: 1 to 2^31 - 1.
const fn clamp_timer(seconds: u32) -> u32 {
    match seconds {
        0 => 1,
        1..=MAX_TIMER => seconds,
        _ => MAX_TIMER,
    }
}

/// The margin that is left of `margin` under a `maxtimer`: at most half of it.
fn margin_under(maxtimer: u32, margin: Duration) -> Duration {
    margin.min(Duration::from_secs(u64::from(maxtimer)) / 2)
}

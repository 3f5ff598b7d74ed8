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

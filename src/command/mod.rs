//! Commands: from the line to what it says, and from what is meant to a line.
//!
//! Layer 1. [`Command::parse`] reads one line without taking memory; what it knows is checked as
//! far as the line itself tells, what it does not know is kept octet for octet. [`MailLine`],
//! [`RcptLine`] and [`CommandLine`] write: nothing that could end a line gets into them.
//!
//! ```
//! use smtp_checkpoint::command::{Command, CommandError};
//!
//! fn answer(line: &[u8]) -> &'static str {
//!     match Command::parse(line) {
//!         Ok(Command::Mail(mail)) if mail.unknown_parameters().next().is_some() => "555 5.5.4",
//!         Ok(Command::Mail(_)) => "250 2.1.0",
//!         Ok(Command::Unknown(_)) => "500 5.5.1",
//!         Ok(_) => "503 5.5.1",
//!         Err(error) => if error.reply_code() == 500 { "500 5.5.2" } else { "501" },
//!     }
//! }
//! assert_eq!(answer(b"mail from: <a@b.example>"), "250 2.1.0");
//! assert_eq!(answer(b"MAIL FROM:<> HOLDFOR=9"), "555 5.5.4");
//! assert_eq!(answer(b"NOOP x\nRSET"), "500 5.5.2");
//! ```
//!
//! Beyond RFC 5321 are read, because they are sent: any case, white space behind the colon and at
//! the end of the line, more than one space between parts, paths without brackets, any printable
//! client name, "_" in domains. BDAT alone is read to the letter, since the octets behind it are
//! data.

pub mod base64;
mod builder;
mod domain;
mod error;
mod lines;
mod mail;
mod mailbox;
mod params;
mod parse;
mod path;
mod rcpt;
#[cfg(test)]
mod usual_tests;
mod write;
mod xtext;

pub use builder::{MailLineBuilder, RcptLineBuilder};
pub use domain::{DomainOrLiteral, MAX_DOMAIN};
pub use error::{BuildError, CommandError, MailboxError};
pub use lines::{MailLine, RcptLine};
pub use mail::{AuthParameter, Body, Mail, Ret};
pub use mailbox::{DecodedLocalPart, LocalPart, MAX_LOCAL_PART, Mailbox, MailboxBuf};
pub use params::{MAX_UNKNOWN_PARAMETERS, Parameter, UnknownParameters};
pub use parse::{Auth, Bdat, Burl, Command, MAX_TIMER, Rdlv, UnknownCommand, is_bdat};
pub use path::{ForwardPath, MAX_PATH, ReversePath};
pub use rcpt::{Notify, NotifyOn, Orcpt, Rcpt};
pub use write::{ClientName, CommandLine};
pub use xtext::{Decoded, XText};

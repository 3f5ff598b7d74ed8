//! The restart protocol as a model, checked in every state.
//!
//! One client with one message, attempt after attempt; one or two server hosts, each with a store
//! of its own, over a shared one. Connections are lost and hosts crash at any point, what was
//! written before a loss is read later or never, decisions outlive their sessions, advice to
//! discard comes late, leases expire under their holders. [`Restart`] is the model for
//! [stateright](https://docs.rs/stateright), [`Setup`] bounds it, [`properties`] are the promises.
//! With [`Setup::broken`] one [`Rule`] is left out, and [`counter_example`] finds the shortest way
//! to a broken promise. `docs/MODEL.md` has them all.
//!
//! # What is the crate's own
//!
//! The model decides as little as it can by itself. Every state holds records as
//! `Record::encode` gives them and the client's journal as `UnfinishedTransaction::encode` does;
//! every step calls the crate:
//!
//! | where | what |
//! | --- | --- |
//! | server, CHECKPOINT | `Transaction`: `begin`, `claim`, `rcpt`, `answer_recipient`, `data`, `confirm`, `progress`, `end`, `reset`, `snapshot`, `decide_anew` |
//! | records | `Record`: `processing`, `complete`, `encode`, `decode`; `Completion`, `Verdict` |
//! | advice | `Discard::applies_to` |
//! | server, RDLV and DETA | `rdlv::Server`, `Settled::reply` |
//! | client | `UnfinishedTransaction`: `begin_attempt`, `will_send`, `may_have_sent`, `is_restart`, `next_step`, `encode`, `decode`; `Used::first`, `is_decisive` |
//! | client, RDLV and DETA | `rdlv::Client` |
//!
//! # What is abstracted
//!
//! * The store: [`Transaction`'s contract](smtp_checkpoint::checkpoint::transaction#what-the-store-promises)
//!   in a few methods, each one step (`store.rs`). A partial record is durable when it is stored,
//!   content when it is synced. It appends, and takes all the content that it has. Content may
//!   fail to be written or synced; records and commits do not fail.
//! * The wire: commands and replies in place of octets, RCPT and DATA as one command, lines as
//!   numbers. A session that is left by its client reads on for as long as it likes.
//! * The client session: which reply ends an attempt and what is sent next (`client.rs`).
//! * Time: whatever waits may take any time. A time-out is a lost connection.
//! * Not in it: BDAT, LMTP, another MAIL under the same TRANSID, several recipients, QUIT,
//!   retention. The simulated runs of `testkit/` have these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It panics on what cannot be.

mod client;
mod delay;
mod fixture;
mod owner;
pub mod properties;
mod rank;
mod rules;
mod server;
mod store;
mod trace;
mod world;

pub use client::Told;
pub use rules::{Rule, Setup};
pub use trace::{CounterExample, counter_example, steps};
pub use world::{Action, Restart, State};

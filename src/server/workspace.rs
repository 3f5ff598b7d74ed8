//! What a session needs for mail, and an idle one does without.
//!
//! Layer 4, private. Most connections of a server are idle at any time: those that never came to a
//! MAIL hold none of this. It is made when something is first written to it, and then kept with
//! its buffers, so that the next transaction allocates nothing.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use bytes::Bytes;

use super::content::Content;
use super::drain::Drain;
use super::event::Event;
use super::progress::LongDecision;
use super::queue::Queue;
use super::{Asked, ServerConfig, Slot};
use crate::checkpoint::{Transaction, TransactionKey};
use crate::output::Position;
use crate::protocol::Protocol;
use crate::rdlv;
use crate::time::Timestamp;

/// The state of what is under way. Kept below 1 KiB, what rarely is in it in boxes: above that
/// allocators are slow.
#[derive(Debug)]
pub(super) struct Workspace {
    /// The next that the caller is told.
    pub(super) event: Option<Event>,
    pub(super) transaction: Transaction,
    pub(super) content: Content,
    pub(super) long: LongDecision,
    /// Replies to a group of RCPTs, in the order of the commands.
    pub(super) recipients: Queue<Slot>,
    /// A command that waits until all recipients are answered.
    pub(super) held: Option<Bytes>,
    pub(super) aside: Option<Asked>,
    pub(super) abandon: Option<Asked>,
    pub(super) drain: Option<Box<Drain>>,
    /// The last 355, where the client cannot have seen it yet: where it ends in the output.
    pub(super) offset_untold: Option<Position>,
    /// Octets received when the last 355 had been transmitted.
    pub(super) received_before_offset: u64,
    /// When the octets that are read now came; `None` for those that came before the workspace.
    pub(super) input_came: Option<Timestamp>,
    /// Completion records whose replies have been written up to a position.
    pub(super) completed: Vec<(Position, TransactionKey)>,
}

impl Workspace {
    const fn new(transaction: Transaction) -> Self {
        Self {
            event: None,
            transaction,
            content: Content::new(),
            long: LongDecision::new(rdlv::ServerSettings::LEAST),
            recipients: Queue::new(),
            held: None,
            aside: None,
            abandon: None,
            drain: None,
            offset_untold: None,
            received_before_offset: 0,
            input_came: None,
            completed: Vec::new(),
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new(Transaction::fresh())
    }
}

/// The workspace of a session, once it has one; until then it reads as an empty one.
#[derive(Debug)]
pub(super) struct Lazy {
    made: Option<Box<Workspace>>,
    config: Arc<ServerConfig>,
}

impl Lazy {
    pub(super) fn new(config: Arc<ServerConfig>) -> Self {
        Self { made: None, config }
    }

    /// The workspace, if there is one.
    #[inline]
    pub(super) fn get(&self) -> Option<&Workspace> {
        self.made.as_deref()
    }

    /// The same, for changes.
    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut Workspace> {
        self.made.as_deref_mut()
    }

    /// Whether there is anything in it that could be changed.
    pub(super) fn is_made(&self) -> bool {
        self.made.is_some()
    }
}

impl Deref for Lazy {
    type Target = Workspace;

    #[inline]
    fn deref(&self) -> &Workspace {
        match &self.made {
            Some(made) => made,
            None => empty(self.config.protocol),
        }
    }
}

impl DerefMut for Lazy {
    #[inline]
    fn deref_mut(&mut self) -> &mut Workspace {
        self.made.get_or_insert_with(|| make(&self.config))
    }
}

#[cold]
fn empty(protocol: Protocol) -> &'static Workspace {
    static SMTP: Workspace = Workspace::new(Transaction::fresh());
    static LMTP: Workspace = Workspace::new(Transaction::lmtp());
    match protocol {
        Protocol::Smtp => &SMTP,
        Protocol::Lmtp => &LMTP,
    }
}

#[cold]
fn make(config: &ServerConfig) -> Box<Workspace> {
    // Made where it belongs, and not by way of the stack.
    let mut workspace = Box::<Workspace>::default();
    if config.protocol == Protocol::Lmtp {
        workspace.transaction = Transaction::lmtp();
    }
    workspace.long = LongDecision::new(config.rdlv());
    workspace.content.make_room();
    workspace
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Above that it takes an allocator's slow way, at least with glibc.
    #[test]
    fn a_workspace_is_below_one_kibibyte() {
        assert!(size_of::<Workspace>() <= 1024);
    }
}

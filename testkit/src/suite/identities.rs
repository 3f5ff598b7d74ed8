//! Clients that have nothing to do with each other, under one TRANSID.

use std::rc::Rc;

use bytes::Bytes;
use smtp_checkpoint::server::Peer;

use super::cuts::cuts_of;
use super::{Report, Suite};
use crate::client::{Caller, Who};
use crate::host::{Manner, Offer};
use crate::log::Log;
use crate::message::{How, Message};
use crate::store::{Store, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::wire::{Course, Cut};

/// Who the second client is; the first one is `c.example` at 192.0.2.7, in clear.
fn strangers() -> Vec<(&'static str, String, Peer)> {
    let same = || "c.example".to_string();
    let authenticated = |identity: &'static [u8]| Peer {
        authenticated: Some(Bytes::from_static(identity)),
        ..Peer::at(b"192.0.2.7")
    };
    let tls = Peer {
        tls: true,
        ..Peer::at(b"192.0.2.7")
    };
    let certified = Peer {
        tls_client: Some(Bytes::from_static(b"c.example")),
        ..tls.clone()
    };
    vec![
        ("another name", "d.example".into(), Peer::at(b"192.0.2.7")),
        ("another address", same(), Peer::at(b"192.0.2.8")),
        ("under TLS", same(), tls),
        ("with a certificate", same(), certified),
        ("authenticated", same(), authenticated(b"c.example")),
    ]
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// Two clients of different identities with one TRANSID: the first is interrupted at every
    /// octet, then the second sends its own message, as if there were no other.
    ///
    /// # Errors
    ///
    /// The first case that failed.
    pub fn identities(&mut self) -> Result<Report, Failure> {
        self.begin("identities");
        for how in [How::Data, How::Bdat(7)] {
            let mut mine = Message::new("mine", b"S: x\r\n\r\nmine\r\nend\r\n");
            mine.how = how;
            let mine = Rc::new(mine);
            let clean = self.must(
                || format!("{how:?}, alone"),
                |suite, log| {
                    let mut world = suite.world(Offer::default(), &Manner::default(), log)?;
                    let caller = Caller::new(Who::Simple, &mine)?;
                    Ok(world.run(0, caller, &[], Unsynced::Lost, 1)?.0)
                },
            )?;
            for (who, name, peer) in strangers() {
                // The same MAIL as well, and another one.
                for sender in ["mine", "theirs"] {
                    let mut theirs = Message::new(sender, b"S: y\r\n\r\ntheirs is longer\r\n");
                    theirs.how = how;
                    theirs.transid.clone_from(&mine.transid);
                    theirs.name.clone_from(&name);
                    theirs.peer = peer.clone();
                    if sender == "mine" {
                        theirs.content.clone_from(&mine.content);
                    }
                    let theirs = Rc::new(theirs);
                    for cut in cuts_of(&clean, true, 0).filter(|cut| cut.up) {
                        self.case(
                            || format!("{how:?}, {who}, MAIL {sender}, {cut:?}"),
                            |suite, log| suite.apart(&mine, &theirs, cut, log),
                        )?;
                    }
                }
            }
        }
        Ok(self.end())
    }

    fn apart(&mut self, mine: &Rc<Message>, theirs: &Rc<Message>, cut: Cut, log: &Log) -> Held {
        let offer = Offer {
            lmtp: false,
            checkpoint_every: Some(4),
            ..Offer::default()
        };
        let mut world = self.world(offer, &Manner::default(), log)?;
        let mut course = Course::default();
        let caller = Caller::new(Who::Simple, mine)?;
        let caller = world.try_once(0, caller, Some(cut), Unsynced::Lost, &mut course)?;
        let stranger = Caller::new(Who::Library(6), theirs)?;
        let (their_course, _) = world.run(0, stranger, &[], Unsynced::Lost, 1)?;
        if their_course.offsets != [None] {
            let what = format!("a stranger is told {:?}", their_course.offsets);
            return Err(Violation::new(Rule::IdentitiesApart, what));
        }
        let (my_course, _) = world.run(0, caller, &[], Unsynced::Lost, 1)?;
        for course in [&course, &their_course, &my_course] {
            self.count(course);
        }
        self.count_world(&world);
        let to = ["b@example.net"];
        if mine.sender != theirs.sender {
            world.check_delivered(mine, &to)?;
            return world.check_delivered(theirs, &to);
        }
        let copies = world.copies(mine);
        crate::wire::check_unaltered(mine, &copies)?;
        if copies.len() != 2 {
            let what = format!("{} copies of two messages", copies.len());
            return Err(Violation::new(Rule::IdentitiesApart, what));
        }
        Ok(())
    }
}

//! Nobody learns whether a TRANSID is in use by somebody else (HD-01): the same octets come back
//! and the same is asked of the store as for one that nobody has, and the owner's record is not
//! touched.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use smtp_checkpoint::server::{Peer, ServerConfig};
use support::{World, reply};

const MAIL: &[u8] = b"MAIL FROM:<a@c.example> TRANSID=<1@c.example>\r\n";
const RCPT: &[u8] = b"RCPT TO:<b@x.example>\r\n";

/// A peer and the name that it says in EHLO.
type Who = (Peer, &'static str);

fn peer(address: &[u8], tls: bool, authenticated: &str, tls_client: &str) -> Peer {
    let identity = |text: &str| (!text.is_empty()).then(|| text.to_owned().into());
    Peer {
        tls,
        authenticated: identity(authenticated),
        tls_client: identity(tls_client),
        ..Peer::at(address)
    }
}

/// Owners of a TRANSID, each with strangers who get as near as can be.
fn pairs() -> Vec<(Who, Who)> {
    const HERE: &[u8] = b"192.0.2.7";
    const THERE: &[u8] = b"198.51.100.1";
    let host = (peer(HERE, false, "", ""), "c.example");
    let ned = (peer(HERE, true, "ned", ""), "c.example");
    let certified = (peer(HERE, true, "", "ned"), "c.example");
    vec![
        // another address, another name, TLS or an identity that the owner did not have
        (host.clone(), (peer(THERE, false, "", ""), "c.example")),
        (host.clone(), (peer(HERE, false, "", ""), "d.example")),
        (host.clone(), (peer(HERE, true, "", ""), "c.example")),
        (host, ned.clone()),
        // somebody else, nobody, and the same one in clear: a downgrade
        (ned.clone(), (peer(HERE, true, "tim", ""), "c.example")),
        (ned.clone(), (peer(HERE, true, "NED", ""), "c.example")),
        (ned.clone(), (peer(HERE, true, "", ""), "c.example")),
        (ned.clone(), (peer(HERE, false, "ned", ""), "c.example")),
        // the same octets by another way of knowing them
        (ned.clone(), certified.clone()),
        (certified, ned),
    ]
}

/// What the owner has under its TRANSID when the stranger comes.
const HELD: [&str; 6] = [
    "partial",
    "processing",
    "processing, its client gone",
    "committed",
    "committed with 4yz",
    "unreadable",
];

fn hello(world: &mut World, name: &str, who: &Who) {
    world.peer = who.0.clone();
    world.connect(name);
    world.send(name, format!("EHLO {}\r\n", who.1).as_bytes());
    world.take(name);
}

/// A world where the owner has come that far.
fn owned(owner: &Who, held: &str) -> World {
    let config = ServerConfig::builder("mx.example.net").data_rate(None);
    let mut world = World::new(config.build().unwrap());
    hello(&mut world, "owner", owner);
    world.send("owner", MAIL);
    world.send(
        "owner",
        &[RCPT, b"DATA\r\nline one\r\nline two\r\n"].concat(),
    );
    match held {
        "partial" => world.eof("owner"),
        "unreadable" => {
            world.eof("owner");
            world
                .store
                .held
                .values_mut()
                .for_each(|held| held.unreadable = true);
        }
        "committed with 4yz" => {
            world.verdicts.push_back(reply("451 4.3.0 Not now").into());
            world.send("owner", b".\r\n");
        }
        "committed" => world.send("owner", b".\r\n"),
        _ => {
            world.hold = vec!["verdict".into()];
            world.send("owner", b".\r\n");
            world.hold.clear();
            if held == "processing" {
                // It is being made somewhere else.
                world.link("owner").questions.clear();
            } else {
                world.links.remove("owner");
            }
        }
    }
    world.store.calls.clear();
    world
}

/// One thing that a stranger does.
#[derive(Clone, Copy)]
enum Step {
    Say(&'static str),
    /// The connection is lost, and there is another one.
    Lost,
}

use Step::{Lost, Say};

const MAIL_LINE: &str = "MAIL FROM:<a@c.example> TRANSID=?\r\n";
const ENVELOPE: &str = "RCPT TO:<b@x.example>\r\nDATA\r\n";

/// Whatever a stranger may try.
const ATTEMPTS: [&[Step]; 7] = [
    // a whole message
    &[
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say("mine\r\n.\r\n"),
        Say("QUIT\r\n"),
    ],
    // the empty data command, in case there is something to be told
    &[
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say(".\r\n"),
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say(".\r\n"),
    ],
    &[
        Say(MAIL_LINE),
        Say("RCPT TO:<b@x.example>\r\nBDAT 0 LAST\r\n"),
    ],
    // half of it, the rest, and the final reply once more
    &[
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say("mine\r\nand"),
        Lost,
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say("more\r\n.\r\n"),
        Lost,
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say(".\r\n"),
    ],
    // discarding, with and without content
    &[
        Say(MAIL_LINE),
        Say("RSET\r\n"),
        Say(MAIL_LINE),
        Say("RCPT TO:<b@x.example>\r\nRSET\r\n"),
    ],
    &[
        Say(MAIL_LINE),
        Say(ENVELOPE),
        Say("mine\r\n"),
        Lost,
        Say(MAIL_LINE),
        Say("RSET\r\n"),
        Say(MAIL_LINE),
    ],
    // all in one group, and another MAIL
    &[
        Say("MAIL FROM:<a@c.example> TRANSID=?\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"),
        Say(".\r\n"),
        Say("MAIL FROM:<other@c.example> TRANSID=?\r\n"),
    ],
];

/// What came back, what was told to the caller, when it would have timed out, and the calls of the
/// store, with the TRANSID left out.
fn try_out(world: &mut World, stranger: &Who, steps: &[Step], transid: &str) -> String {
    let mut seen = String::new();
    let mut connection = 0;
    let mut name = String::new();
    for step in [Lost].iter().chain(steps) {
        match step {
            Lost => {
                if connection > 0 {
                    world.eof(&name);
                }
                connection += 1;
                name = format!("stranger {connection}");
                hello(world, &name, stranger);
            }
            Say(text) => {
                let text = text.replace('?', transid);
                seen += &world.talk(&name, text.as_bytes());
                let link = world.link(&name);
                seen += &format!("{:?} {:?}\n", link.session.poll_timeout(), link.log);
            }
        }
    }
    for (_, call) in &world.store.calls {
        seen += &format!("{call}\n");
    }
    seen.replace(transid, "?")
}

#[test]
fn a_foreign_scope_sees_and_causes_the_same_as_for_an_unknown_id() {
    let mut compared = 0;
    for (owner, stranger) in pairs() {
        for held in HELD {
            for steps in ATTEMPTS {
                let mut world = owned(&owner, held);
                let (key, before) = world.store.held.pop_first().expect("the owner's");
                world.store.held.insert(key.clone(), before.clone());
                let theirs = try_out(&mut world, &stranger, steps, "<1@c.example>");
                let unknown = try_out(&mut owned(&owner, held), &stranger, steps, "<2@c.example>");
                assert_eq!(theirs, unknown, "{owner:?}, {stranger:?}, {held}");

                let calls = &world.store.calls;
                assert!(!calls.is_empty());
                assert!(calls.iter().all(|(asked, _)| *asked != key), "{held}");
                let after = format!("{:?}", world.store.held[&key]);
                assert_eq!(after, format!("{before:?}"), "{held}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 10 * 6 * 7);
}

/// The owner is told what it was told before, whatever strangers did in between.
#[test]
fn the_owner_finds_what_it_left() {
    for (owner, stranger) in pairs() {
        for (held, answer) in [
            ("partial", "355 20 "),
            ("processing", "355 20 "),
            ("committed", "355 20 "),
            ("unreadable", "451 "),
        ] {
            for steps in ATTEMPTS {
                let mut world = owned(&owner, held);
                try_out(&mut world, &stranger, steps, "<1@c.example>");
                hello(&mut world, "owner again", &owner);
                let told = world.talk("owner again", MAIL);
                assert!(told.starts_with(answer), "{held}: {told}");
            }
        }
    }
}

/// The comparison would notice: a session of the same scope is told.
#[test]
fn the_same_scope_is_told() {
    let (owner, _) = pairs().remove(4);
    for held in HELD {
        let mut world = owned(&owner, held);
        let theirs = try_out(&mut world, &owner, ATTEMPTS[4], "<1@c.example>");
        let unknown = try_out(
            &mut owned(&owner, held),
            &owner,
            ATTEMPTS[4],
            "<2@c.example>",
        );
        assert_ne!(theirs, unknown, "{held}");
    }
}

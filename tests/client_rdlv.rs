//! RDLV and DETA on the client: the dialogues of both drafts and what they leave open, through the
//! public interface. Lines are compared character for character.

#![cfg(feature = "session")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use smtp_checkpoint::checkpoint::{
    Address, Cause, ClientScope, Content, NextStep, Outcome, Reconnect, RestartPolicy, Sent,
    Server, Stage, UnfinishedTransaction,
};
use smtp_checkpoint::client::{
    Answered, ChoiceError, Ending, NoRdlv, Protocol, RdlvRequest, SendError, WithoutRdlv,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::error::{PeerError, UsageError};
use smtp_checkpoint::rdlv::{self, Choice, DetachOffer, Policy, Then};
use smtp_checkpoint::transid::TransId;

mod client_scene;

use client_scene::{MAIL, NOW, RCPT, Scene, checkpointed, config, plain};

const MESSAGE: &[u8] = b"lots\r\n.and lots\r\nof data\r\n";
const DATA: &str = "lots\r\n..and lots\r\nof data\r\n.\r\n";
const PLAIN: &str = "MAIL FROM:<ned@ymir.claremont.edu>\r\n";
/// Where it may be detached.
const RCPT_FAILURE: &str = "RCPT TO:<mrose@dbc.mtview.ca.us> NOTIFY=FAILURE\r\n";
/// What a server offers.
const ALL: &[&str] = &["RDLV mintimer=30", "DETA", "DSN", "CHECKPOINT"];
const URL: &str = "imap://handset@host.example.com/outbox;uidvalidity=a9j230r932/;uid=32;authid=fred;\
                   urlauth=submit+handset:internal:91354a473744909de610943775f92038";

fn asking(maxtimer: u32) -> RdlvRequest {
    RdlvRequest::new(maxtimer)
}

/// Never detaches, so that the dialogue has no NOTIFY.
fn patient(maxtimer: u32) -> RdlvRequest {
    let mut request = asking(maxtimer);
    request.settings.detach = DetachOffer::Never;
    request
}

/// The EHLO exchange that the examples of the drafts share.
fn example_net(scene: &mut Scene, deta: bool) -> &mut Scene {
    scene
        .s("220 example.net SMTP XYZ Ready")
        .c("EHLO example.com\r\n")
        .s("250-example.net greets example.com")
        .s("250-8BITMIME")
        .s("250-BURL imap")
        .s("250-RDLV mintimer=30");
    if deta {
        scene.s("250-DETA");
    }
    scene.s("250-DSN").s("250 HELP")
}

fn example(from: &str, to: &str) -> smtp_checkpoint::checkpoint::UnfinishedTransactionBuilder {
    let mail = MailLine::parse(format!("MAIL FROM:{from}").into_bytes()).unwrap();
    let rcpt = RcptLine::parse(format!("RCPT TO:{to}").into_bytes()).unwrap();
    UnfinishedTransaction::builder(mail, Content::measure(MESSAGE), 0).recipient(rcpt)
}

fn example_scene(request: RdlvRequest) -> Scene {
    let config = smtp_checkpoint::client::ClientConfig::builder(
        "example.com",
        smtp_checkpoint::client::TlsPolicy::IfOffered,
    )
    .rdlv(request);
    Scene::with(config, MESSAGE)
}

/// draft-burger-smtp-rdlv-01 §6.1, the code of RDLV's reply as it stands there.
#[test]
fn the_long_submit() {
    let mut scene = example_scene(asking(600));
    let transaction = example("<smith@example.com>", "<jones@example.net>");
    example_net(&mut scene, false)
        .send(&transaction.build().unwrap())
        .c("MAIL FROM:<smith@example.com>\r\n")
        .s("250 OK")
        .c("RCPT TO:<jones@example.net>\r\n")
        .s("250 OK")
        .c("RDLV maxtimer=600\r\n")
        .s("200 OK")
        .c("DATA\r\n")
        .s("354 Start mail input; end with <CRLF>.<CRLF>")
        .c(DATA)
        .wait(600)
        .s("120 DATA processing in progress")
        .choose(Choice::CarryOn)
        .c("CONT\r\n")
        .wait(600)
        .s("120 DATA processing in progress")
        .choose(Choice::CarryOn)
        .c("CONT\r\n")
        .wait(120)
        .s("250 OK");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    scene.smtp.outcome_stored(scene.now).unwrap();
    scene.smtp.quit(scene.now).unwrap();
    scene.c("QUIT\r\n");
    scene.s("221 example.net Service closing transmission channel");
    assert_eq!(scene.ending, Some(Ending::Quit));
}

/// draft-burger-smtp-rdlv-01 §6.3.
#[test]
fn the_remote_submit() {
    let mut scene = example_scene(asking(60));
    let transaction = example("<handset@example.com>", "<jones@example.net>").burl(URL);
    example_net(&mut scene, false)
        .send(&transaction.build().unwrap())
        .c("MAIL FROM:<handset@example.com>\r\n")
        .s("250 OK")
        .c("RCPT TO:<jones@example.net>\r\n")
        .s("250 OK")
        .c("RDLV maxtimer=60\r\n")
        .s("200 OK")
        .c(&format!("BURL {URL} LAST\r\n"));
    for _ in 0..4 {
        scene
            .wait(60)
            .s("120 DATA processing in progress")
            .choose(Choice::CarryOn)
            .c("CONT\r\n");
    }
    scene.s("250 OK");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
}

/// draft-burger-smtp-rdlv-01 §6.2: its client quits; this one does so where the caller insists on
/// RDLV, else it sends the BURL once more.
#[test]
fn the_unsupported_verb() {
    for otherwise in [WithoutRdlv::Stop, WithoutRdlv::GoOn] {
        let mut request = asking(600);
        request.otherwise = otherwise;
        let mut scene = example_scene(request);
        let transaction = example("<smith@example.com>", "<jones@example.net>").burl(URL);
        let burl = format!("BURL {URL} LAST\r\n");
        scene
            .s("220 example.net SMTP XYZ Ready")
            .c("EHLO example.com\r\n")
            .s("250-example.net greets example.com")
            .s("250-8BITMIME")
            .s("250-BURL imap")
            .s("250-RDLV mintimer=30")
            .s("250-DSN")
            .s("250-ENHANCEDSTATUSCODES")
            .s("250 HELP")
            .send(&transaction.build().unwrap())
            .c("MAIL FROM:<smith@example.com>\r\n")
            .s("250 2.5.0 OK")
            .c("RCPT TO:<jones@example.net>\r\n")
            .s("250 2.1.5 OK")
            .c("RDLV maxtimer=600\r\n")
            .s("200 2.5.0 OK")
            .c(&burl)
            .s("520 5.3.3 This server does not support RDLV for BURL");
        if otherwise == WithoutRdlv::GoOn {
            assert!(matches!(&scene.no_rdlv[..], [NoRdlv::NotPossible(reply)]
                if reply.code().get() == 520));
            assert!(scene.smtp.rdlv().is_none());
            scene.c(&burl).s("250 2.0.0 OK");
            assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
            continue;
        }
        scene.c("RSET\r\n").s("250 2.0.0 OK");
        let Outcome::Declined {
            stage,
            reply,
            transaction,
        } = scene.outcome()
        else {
            panic!("nothing was taken");
        };
        assert_eq!((stage, reply.code().get()), (Stage::EndOfData, 520));
        assert_eq!(transaction.sent(), Sent::Nothing);
        scene.quit();
    }
}

/// draft-burger-smtp-deta-00 §4.1.
#[test]
fn the_detached_submit() {
    let mut scene = example_scene(asking(30));
    let transaction = example("<smith@example.com>", "<jones@example.net>");
    example_net(&mut scene, true)
        .send(&transaction.build().unwrap())
        .c("MAIL FROM:<smith@example.com>\r\n")
        .s("250 OK")
        // The example does not ask for a DSN, the text says SHOULD (§2.2.2).
        .c("RCPT TO:<jones@example.net> NOTIFY=FAILURE\r\n")
        .s("250 OK")
        .c("RDLV maxtimer=30\r\n")
        .s("200 OK")
        .c("DATA\r\n")
        .s("354 Start mail input; end with <CRLF>.<CRLF>")
        .c(DATA)
        .wait(30)
        .s("120 DATA processing in progress");
    assert!(scene.question.as_ref().unwrap().can_detach());
    scene
        .choose(Choice::Detach)
        .c("DETA\r\n")
        .s("221 example.net Service closing transmission channel");
    assert!(matches!(scene.outcome(), Outcome::Detached { .. }));
    assert_eq!(scene.ending, Some(Ending::Detached));
    scene.c("");
}

/// draft-burger-smtp-deta-00 §4.2: DETA is not in the EHLO reply there, which the tolerant setting
/// copes with. The BURL waits for the reply to RDLV, the last of its group
/// (draft-burger-smtp-rdlv-01 §3.2.2).
#[test]
fn the_pipelined_submit() {
    let mut request = asking(30);
    request.settings.detach = DetachOffer::Tolerant;
    let mut scene = example_scene(request);
    let transaction = example(
        "<handset@example.com> RET=HDRS ENVID=A123bzq",
        "<jones@example.net> NOTIFY=FAILURE ORCPT=rfc822;jones@example.com",
    );
    scene
        .s("220 example.net SMTP XYZ Ready")
        .c("EHLO example.com\r\n")
        .s("250-example.net greets example.com")
        .s("250-8BITMIME")
        .s("250-PIPELINING")
        .s("250-BURL imap")
        .s("250-RDLV mintimer=30")
        .s("250-DSN")
        .s("250 HELP")
        .send(&transaction.burl(URL).build().unwrap())
        .c("MAIL FROM:<handset@example.com> RET=HDRS ENVID=A123bzq\r\n\
            RCPT TO:<jones@example.net> NOTIFY=FAILURE ORCPT=rfc822;jones@example.com\r\n\
            RDLV maxtimer=30\r\n")
        .s("250 sender <handset@example.com> OK")
        .s("250 recipient <jones@example.net> OK")
        .s("200 reliable delivery OK")
        .c(&format!("BURL {URL} LAST\r\n"))
        .wait(30)
        .s("120 DATA processing in progress")
        .choose(Choice::Detach)
        .c("DETA\r\n")
        .s("221 example.net Service closing transmission channel");
    assert!(matches!(scene.outcome(), Outcome::Detached { .. }));
}

/// A session that is ready for a transaction.
fn ready(request: RdlvRequest, keywords: &[&str]) -> Scene {
    let mut scene = Scene::with(config().rdlv(request), MESSAGE);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    hello(&mut scene, keywords);
    scene
}

fn hello(scene: &mut Scene, keywords: &[&str]) {
    let mut lines = [&["hi"], keywords].concat();
    let last = lines.pop().unwrap();
    for line in lines {
        scene.s(&format!("250-{line}"));
    }
    scene.s(&format!("250 {last}"));
}

/// A session that has sent all of the message under RDLV, to a server that offers [`ALL`].
fn submitted(request: RdlvRequest, transaction: &UnfinishedTransaction) -> Scene {
    let mut scene = ready(request, ALL);
    let mail = if transaction.transid().is_some() {
        MAIL
    } else {
        PLAIN
    };
    scene.send(transaction).c(mail).s("250 ok");
    if request.settings.detach == DetachOffer::Never {
        scene.c(RCPT);
    } else {
        scene.c(RCPT_FAILURE);
    }
    let maxtimer = request.settings.maxtimer.max(30);
    scene
        .s("250 ok")
        .c(&format!("RDLV maxtimer={maxtimer}\r\n"))
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go")
        .c(DATA);
    scene
}

fn bdat(transid: bool) -> UnfinishedTransaction {
    let mut builder =
        UnfinishedTransaction::builder(client_scene::ned(), Content::measure(MESSAGE), 0)
            .recipient(client_scene::rcpt("mrose@dbc.mtview.ca.us"))
            .bdat();
    if transid {
        builder = builder.transid(TransId::parse(b"<12345@claremont.edu>").unwrap());
    }
    builder.build().unwrap()
}

/// RD-12: RDLV is the last of its group, and under RDLV the verb that ends the message of its own.
#[test]
fn rdlv_is_last_of_its_group_and_so_is_the_verb() {
    let keywords = &["PIPELINING", "CHECKPOINT", "CHUNKING", "RDLV"];
    let mut scene = ready(asking(600), keywords);
    scene
        .send(&plain(MESSAGE))
        .c(&format!("{PLAIN}{RCPT}RDLV maxtimer=600\r\n"))
        .s("250 ok")
        .s("250 ok")
        .c("")
        .s("250 ok")
        .c("DATA\r\n");
    // MAIL with TRANSID ends a group too.
    let mut scene = ready(asking(600), keywords);
    scene
        .send(&checkpointed(MESSAGE))
        .c(MAIL)
        .s("250 ok")
        .c(&format!("{RCPT}RDLV maxtimer=600\r\n"))
        .s("250 ok")
        .c("")
        .s("250 ok")
        .c("DATA\r\n");
    // Chunks wait as well, the last one for all before it.
    let request = config().rdlv(asking(600)).chunk_size(20);
    let mut scene = Scene::with(request, MESSAGE);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    hello(&mut scene, keywords);
    scene
        .send(&bdat(false))
        .c(&format!("{PLAIN}{RCPT}RDLV maxtimer=600\r\n"))
        .s("250 ok")
        .s("250 ok")
        .c("")
        .s("250 ok")
        .c("BDAT 20\r\nlots\r\n.and lots\r\nof ")
        .s("250 ok")
        .c("BDAT 6 LAST\r\ndata\r\n")
        .s("120 still at it")
        .choose(Choice::CarryOn)
        .c("CONT\r\n");
    // Without PIPELINING each command is a group.
    let mut scene = ready(asking(600), &["RDLV"]);
    scene
        .send(&plain(MESSAGE))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("RDLV maxtimer=600\r\n")
        .s("250 ok")
        .c("DATA\r\n");
}

#[test]
fn refused_commands_before_rdlv_in_its_group() {
    // MAIL: the whole group is refused.
    let mut scene = ready(asking(600), &["PIPELINING", "RDLV"]);
    scene
        .send(&plain(MESSAGE))
        .c(&format!("{PLAIN}{RCPT}RDLV maxtimer=600\r\n"))
        .s("550 no")
        .s("503 no")
        .s("503 no")
        .c("");
    let outcome = scene.outcome();
    assert!(
        matches!(
            &outcome,
            Outcome::Declined {
                stage: Stage::Mail,
                ..
            }
        ),
        "{outcome:?}"
    );
    scene.quit();
    // Every RCPT: whatever the reply to RDLV, which is waited for.
    for reply in ["250 ok", "503 no"] {
        let mut scene = ready(asking(600), &["PIPELINING", "RDLV"]);
        scene
            .send(&plain(MESSAGE))
            .c(&format!("{PLAIN}{RCPT}RDLV maxtimer=600\r\n"))
            .s("250 ok")
            .s("550 no")
            .c("")
            .s(reply)
            .c("RSET\r\n")
            .s("250 ok");
        assert!(matches!(scene.outcome(), Outcome::NoRecipients { .. }));
        assert_eq!(scene.no_rdlv, []);
    }
    // Without PIPELINING there is nothing that RDLV could be for.
    let mut scene = ready(asking(600), &["RDLV"]);
    scene
        .send(&plain(MESSAGE))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT)
        .s("550 no")
        .c("RSET\r\n");
}

#[test]
fn maxtimer_is_never_below_mintimer_nor_beyond_what_can_be_written() {
    for (wanted, offer, asked) in [
        (600, "RDLV mintimer=30", 600),
        (1, "RDLV mintimer=30", 30),
        (30, "RDLV mintimer=30", 30),
        (1, "RDLV mintimer=1", 1),
        (0, "RDLV", 1),
        (u32::MAX, "RDLV", 2_147_483_647),
        (7, "RDLV mintimer=2147483647", 2_147_483_647),
    ] {
        let mut scene = ready(asking(wanted), &[offer]);
        scene
            .send(&plain(MESSAGE))
            .c(PLAIN)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok");
        scene.c(&format!("RDLV maxtimer={asked}\r\n"));
        assert_eq!(scene.smtp.rdlv().unwrap().rdlv().maxtimer, asked);
    }
}

/// RD-03: the normative text has 250, the examples 200.
#[test]
fn any_2yz_accepts() {
    for reply in ["200 OK", "250 2.0.0 OK", "299 odd"] {
        let mut scene = ready(asking(600), &["RDLV"]);
        scene
            .send(&plain(MESSAGE))
            .c(PLAIN)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok");
        scene
            .c("RDLV maxtimer=600\r\n")
            .s(reply)
            .c("DATA\r\n")
            .s("354 go")
            .c(DATA);
        scene.s("120 wait");
        assert!(scene.question.is_some());
        assert_eq!(scene.no_rdlv, []);
    }
}

/// All times are those of `poll_timeout`, at 1 second, at mintimer, and at 2^31 - 1.
#[test]
fn the_waits_of_rdlv() {
    for (maxtimer, warning) in [(1, 0.5), (30, 23.0), (2_147_483_647, 2_147_483_640.0)] {
        let mut scene = ready(asking(maxtimer), &["RDLV mintimer=1"]);
        scene
            .send(&plain(MESSAGE))
            .c(PLAIN)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok");
        scene.c(&format!("RDLV maxtimer={maxtimer}\r\n"));
        assert_eq!(scene.due(), Some(300.0), "as for any command");
        scene.s("250 ok").c("DATA\r\n");
        assert_eq!(scene.due(), Some(120.0));
        scene.s("354 go").run();
        // What is on its way is waited for as data, however short maxtimer is.
        assert_eq!(scene.due(), Some(180.0));
        scene.wait(100).c(DATA);
        let wait = f64::from(maxtimer) + 7.0;
        assert_eq!(scene.due(), Some(wait), "from when it was transmitted on");
        for _ in 0..2 {
            scene.s("120 wait");
            assert_eq!(scene.due(), Some(warning));
            let until = scene.question.as_ref().unwrap().until();
            assert_eq!(until, scene.now + Duration::from_secs(maxtimer.into()));
            let warnings = scene.warnings;
            scene.now = scene.smtp.poll_timeout().unwrap();
            scene.smtp.handle_timeout(scene.now);
            scene.run();
            assert_eq!(scene.warnings, warnings + 1);
            assert_eq!(scene.due(), Some(f64::from(maxtimer) - warning));
            scene.choose(Choice::CarryOn).c("CONT\r\n");
            assert_eq!(scene.due(), Some(wait));
        }
        // Too early, nothing happens.
        scene.wait(u64::from(maxtimer) + 6);
        assert!(!scene.smtp.is_finished());
        scene.wait(1);
        assert_eq!(scene.faults, [PeerError::TimedOut]);
        assert_eq!(scene.ending, Some(Ending::TimedOut));
        scene.c("");
        let Outcome::Unknown { cause, transaction } = scene.outcome() else {
            panic!("it may have been delivered");
        };
        assert_eq!(cause, Cause::TimedOut);
        let step = transaction.next_step(0, &RestartPolicy::default(), transaction.content());
        assert_eq!(step, NextStep::Unknown, "not sent again without consent");
    }
}

#[test]
fn a_120_left_unanswered_ends_the_session_without_quit() {
    let mut scene = submitted(asking(30), &checkpointed(MESSAGE));
    scene.s("120 wait").wait(22);
    assert_eq!(scene.warnings, 0);
    scene.wait(1);
    assert_eq!(scene.warnings, 1);
    scene.wait(6);
    assert!(!scene.smtp.is_finished());
    scene.wait(1).c("");
    assert_eq!(scene.ending, Some(Ending::Abandoned));
    let (cause, transaction) = scene.interrupted();
    assert_eq!(cause, Cause::NoChoice);
    assert!(transaction.is_restart());
    // The answer comes too late, and changes nothing.
    let question = scene.question.take().unwrap();
    let answered = scene
        .smtp
        .choose(scene.now, question, Choice::Detach)
        .unwrap();
    assert_eq!(answered, Answered::Stale);
    scene.c("");
}

#[test]
fn not_offered() {
    let mut request = asking(600);
    let mut scene = ready(request, &["DETA", "DSN"]);
    scene
        .send(&plain(MESSAGE))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n");
    assert_eq!(scene.no_rdlv, [NoRdlv::NotOffered]);
    // A 120 all the same is a protocol error (RD-11).
    scene.s("354 go").c(DATA).s("120 wait");
    assert_eq!(scene.faults, [PeerError::UnexpectedReply]);
    assert_eq!(scene.ending, Some(Ending::Protocol));

    request.otherwise = WithoutRdlv::Stop;
    let mut scene = ready(request, &["DETA", "DSN"]);
    let refused = scene.smtp.send(NOW, &plain(MESSAGE));
    assert_eq!(refused, Err(SendError::Rdlv(rdlv::NotOffered)));
    // Nothing has changed: the next address, or without it.
    scene.c("");
    assert!(scene.smtp.is_ready() && scene.stored.is_empty());
    scene
        .smtp
        .send_with_rdlv(NOW, &plain(MESSAGE), None)
        .unwrap();
    scene.c(PLAIN);
    assert_eq!(scene.no_rdlv, [], "it was not asked for");
}

#[test]
fn it_is_asked_for_by_the_configuration_or_for_one_transaction() {
    let mut scene = Scene::with(config(), MESSAGE);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    hello(&mut scene, &["RDLV"]);
    let request = Some(asking(60));
    scene
        .smtp
        .send_with_rdlv(NOW, &plain(MESSAGE), request)
        .unwrap();
    scene
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("RDLV maxtimer=60\r\n")
        .s("250 ok");
    scene.c("DATA\r\n").s("354 go").c(DATA).s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    scene.smtp.outcome_stored(NOW).unwrap();
    scene.send(&plain(MESSAGE));
    scene.c(PLAIN).s("250 ok").c(RCPT).s("250 ok").c("DATA\r\n");
}

#[test]
fn rdlv_refused() {
    for reply in ["451 4.3.0 later", "501 5.5.4 too short", "502 5.5.1 what"] {
        let mut request = asking(600);
        let mut scene = ready(request, ALL);
        scene
            .send(&checkpointed(MESSAGE))
            .c(MAIL)
            .s("250 ok")
            .c(RCPT_FAILURE)
            .s("250 ok");
        scene.c("RDLV maxtimer=600\r\n").s(reply).c("DATA\r\n");
        assert!(
            matches!(&scene.no_rdlv[..], [NoRdlv::Refused(_)]),
            "{:?}",
            scene.no_rdlv
        );
        // It is plain SMTP now, with its waits.
        scene.s("354 go").c(DATA);
        assert_eq!(scene.due(), Some(600.0));
        scene.s("250 ok");
        assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

        request.otherwise = WithoutRdlv::Stop;
        let mut scene = ready(request, ALL);
        scene
            .send(&checkpointed(MESSAGE))
            .c(MAIL)
            .s("250 ok")
            .c(RCPT_FAILURE)
            .s("250 ok");
        scene
            .c("RDLV maxtimer=600\r\n")
            .s(reply)
            .c("RSET\r\n")
            .s("250 ok");
        let Outcome::Declined {
            stage, transaction, ..
        } = scene.outcome()
        else {
            panic!("stop");
        };
        assert_eq!(stage, Stage::Rdlv);
        assert_eq!(transaction.sent(), Sent::Nothing);
        assert_eq!(scene.no_rdlv, []);
        scene.quit();
    }
    // 3yz answers something else.
    let mut scene = ready(asking(600), ALL);
    scene
        .send(&plain(MESSAGE))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT_FAILURE)
        .s("250 ok");
    scene.c("RDLV maxtimer=600\r\n").s("354 go");
    assert_eq!(scene.faults, [PeerError::UnexpectedReply]);
}

/// A refused RDLV does not discard what the server holds of the message.
#[test]
fn rdlv_refused_at_a_restart_is_no_reset() {
    let mut scene = submitted(patient(30), &checkpointed(MESSAGE));
    scene.smtp.handle_disconnect(NOW);
    let (_, transaction) = scene.interrupted();
    let mut request = patient(30);
    request.otherwise = WithoutRdlv::Stop;
    let mut scene = ready(request, ALL);
    scene
        .send(&transaction)
        .c(MAIL)
        .s("355 6 is the transaction offset")
        .c("RDLV maxtimer=30\r\n")
        .s("450 not now")
        .c("");
    let (cause, _) = scene.interrupted();
    assert!(
        matches!(cause, Cause::Answered(Stage::Rdlv, _)),
        "{cause:?}"
    );
    scene.quit();
}

/// RD-05, with DATA: the same transaction goes on.
#[test]
fn data_that_cannot_be_done_under_rdlv() {
    let mut request = asking(600);
    let mut scene = ready(request, ALL);
    scene
        .send(&checkpointed(MESSAGE))
        .c(MAIL)
        .s("250 ok")
        .c(RCPT_FAILURE)
        .s("250 ok");
    scene
        .c("RDLV maxtimer=600\r\n")
        .s("250 ok")
        .c("DATA\r\n")
        .s("520 5.3.3 no")
        .c("DATA\r\n");
    assert!(matches!(&scene.no_rdlv[..], [NoRdlv::NotPossible(_)]));
    scene.s("354 go").c(DATA).s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

    // Said once more it is a refusal like any other.
    let mut scene = ready(request, ALL);
    scene
        .send(&plain(MESSAGE))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT_FAILURE)
        .s("250 ok");
    scene
        .c("RDLV maxtimer=600\r\n")
        .s("250 ok")
        .c("DATA\r\n")
        .s("520 5.3.3 no")
        .c("DATA\r\n");
    scene.s("520 5.3.3 no").c("RSET\r\n").s("250 ok");
    assert!(matches!(
        scene.outcome(),
        Outcome::Declined {
            stage: Stage::Data,
            ..
        }
    ));

    request.otherwise = WithoutRdlv::Stop;
    let mut scene = ready(request, ALL);
    scene
        .send(&plain(MESSAGE))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT_FAILURE)
        .s("250 ok");
    scene
        .c("RDLV maxtimer=600\r\n")
        .s("250 ok")
        .c("DATA\r\n")
        .s("520 5.3.3 no")
        .c("RSET\r\n");
    scene.s("250 ok");
    assert!(matches!(
        scene.outcome(),
        Outcome::Declined {
            stage: Stage::Data,
            ..
        }
    ));
}

const CHUNKS: &[&str] = &["RDLV mintimer=30", "CHECKPOINT", "CHUNKING"];
const WHOLE: &str = "BDAT 26 LAST\r\nlots\r\n.and lots\r\nof data\r\n";

fn bdat_520(transaction: &UnfinishedTransaction) -> Scene {
    let mut scene = ready(asking(600), CHUNKS);
    let mail = if transaction.transid().is_some() {
        MAIL
    } else {
        PLAIN
    };
    scene
        .send(transaction)
        .c(mail)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok");
    scene.c("RDLV maxtimer=600\r\n").s("250 ok").c(WHOLE);
    scene.s("520 5.3.3 no").c("RSET\r\n");
    scene
}

/// RD-05, with BDAT: RSET, and the transaction again without RDLV, from its MAIL on.
#[test]
fn bdat_that_cannot_be_done_under_rdlv() {
    for transid in [false, true] {
        let mut scene = bdat_520(&bdat(transid));
        assert!(matches!(&scene.no_rdlv[..], [NoRdlv::NotPossible(_)]));
        let mail = if transid { MAIL } else { PLAIN };
        scene
            .s("250 ok")
            .c(mail)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok")
            .c(WHOLE)
            .s("250 taken");
        let outcome = scene.outcome();
        assert!(matches!(&outcome, Outcome::Delivered { reply } if reply.code().get() == 250));
        scene.quit();
    }
}

/// RSET is advice to discard (CP-16): a server that kept what it had says so, and goes on there.
#[test]
fn what_rset_did_not_discard_is_gone_on_from() {
    let mut scene = bdat_520(&bdat(true));
    scene
        .s("250 ok")
        .c(MAIL)
        .s("355 18 is the transaction offset")
        .c("BDAT 8 LAST\r\nf data\r\n")
        .s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
}

/// Between 520 and the end of the second try nothing is delivered, and a TRANSID is kept.
#[test]
fn a_loss_behind_520_leaves_nothing_delivered() {
    for transid in [false, true] {
        for reply in [None, Some("450 no"), Some("250 ok")] {
            let mut scene = bdat_520(&bdat(transid));
            if let Some(reply) = reply {
                scene.s(reply);
            }
            scene.smtp.handle_eof(NOW);
            let outcome = scene.outcome();
            let Outcome::Interrupted { transaction, .. } = &outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(transaction.is_restart(), transid);
            assert_ne!(transaction.sent(), Sent::EndOfData);
        }
    }
}

/// A server may say 520 to the first chunk already.
#[test]
fn chunks_that_cannot_be_sent_under_rdlv() {
    let start = || {
        let config = config().rdlv(asking(600)).chunk_size(9);
        let mut scene = Scene::with(config, MESSAGE);
        scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
        hello(&mut scene, &["PIPELINING", "RDLV", "CHUNKING"]);
        scene
            .send(&bdat(false))
            .c(&format!("{PLAIN}{RCPT}RDLV maxtimer=600\r\n"));
        scene.s("250 ok").s("250 ok").s("250 ok");
        scene
            .c("BDAT 9\r\nlots\r\n.anBDAT 9\r\nd lots\r\no")
            .s("520 5.3.3 no")
            .c("");
        scene
    };
    let mut scene = start();
    assert_eq!(scene.stops, 0, "all is given already");
    scene
        .s("503 no")
        .c("RSET\r\n")
        .s("250 ok")
        .c(&format!("{PLAIN}{RCPT}"));
    scene
        .s("250 ok")
        .s("250 ok")
        .c("BDAT 9\r\nlots\r\n.anBDAT 9\r\nd lots\r\no");
    scene
        .s("250 ok")
        .s("250 ok")
        .c("BDAT 8 LAST\r\nf data\r\n")
        .s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

    // Lost while the reply to the other chunk is owed.
    let mut scene = start();
    scene.smtp.handle_eof(NOW);
    let outcome = scene.outcome();
    assert!(
        matches!(
            outcome,
            Outcome::Interrupted {
                cause: Cause::Lost,
                ..
            }
        ),
        "{outcome:?}"
    );
}

/// All of it is with the server, which cannot do the empty chunk under RDLV: RSET lets go of the
/// record and does not discard it.
#[test]
fn a_complete_message_behind_520_is_asked_for_once_more() {
    let mut scene = ready(asking(600), CHUNKS);
    scene
        .send(&bdat(true))
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok");
    scene.c("RDLV maxtimer=600\r\n").s("250 ok").c(WHOLE);
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();
    let mut scene = ready(asking(600), CHUNKS);
    scene
        .send(&transaction)
        .c(MAIL)
        .s("355 26 is the offset")
        .c("RDLV maxtimer=600\r\n");
    scene
        .s("250 ok")
        .c("BDAT 0 LAST\r\n")
        .s("520 no")
        .c("RSET\r\n")
        .s("250 ok");
    scene
        .c(MAIL)
        .s("355 26 is the offset")
        .c("BDAT 0 LAST\r\n")
        .s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    // Or the reset is refused: it was sent whole once, and is neither delivered nor failed.
    let mut scene = ready(asking(600), CHUNKS);
    scene
        .send(&transaction)
        .c(MAIL)
        .s("355 26 is the offset")
        .c("RDLV maxtimer=600\r\n");
    scene
        .s("250 ok")
        .c("BDAT 0 LAST\r\n")
        .s("520 no")
        .c("RSET\r\n")
        .s("450 no");
    let (_, transaction) = scene.interrupted();
    assert_eq!(transaction.sent(), Sent::EndOfData);
}

/// RD-11: a 120 anywhere else ends the session.
#[test]
fn a_120_in_any_other_place_is_a_protocol_error() {
    let script = [
        (
            "EHLO ymir.claremont.edu\r\n",
            "250-hi\r\n250-RDLV\r\n250 CHUNKING",
        ),
        (PLAIN, "250 ok"),
        (RCPT, "250 ok"),
        ("RDLV maxtimer=600\r\n", "250 ok"),
        ("DATA\r\n", "354 go"),
    ];
    for place in 0..=script.len() {
        let mut scene = Scene::with(config().rdlv(asking(600)), MESSAGE);
        if place > 0 {
            scene.s("220 hi");
        }
        for (at, (line, reply)) in script.iter().enumerate().take(place) {
            if at == 1 {
                scene.send(&plain(MESSAGE));
            }
            scene.c(line);
            if at + 1 < place {
                scene.s(reply);
            }
        }
        scene.s("120 wait");
        assert_eq!(scene.faults, [PeerError::UnexpectedReply], "{place}");
        assert_eq!(scene.ending, Some(Ending::Protocol));
        scene.c("");
        assert!(scene.question.is_none());
    }
    // Before the end of the data has left, and to a chunk that is not the last.
    let mut scene = submitted(patient(30), &plain(MESSAGE));
    scene.s("120 wait").choose(Choice::CarryOn).s("120 again");
    assert_eq!(
        scene.faults,
        [PeerError::UnsolicitedReply],
        "CONT has not left"
    );
    let mut scene = Scene::with(config().rdlv(asking(600)).chunk_size(20), MESSAGE);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    hello(&mut scene, &["RDLV", "CHUNKING"]);
    scene
        .send(&bdat(false))
        .c(PLAIN)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok");
    scene
        .c("RDLV maxtimer=600\r\n")
        .s("250 ok")
        .c("BDAT 20\r\nlots\r\n.and lots\r\nof ");
    scene.s("120 wait");
    assert_eq!(scene.faults, [PeerError::UnexpectedReply]);
}

/// DE-04 on the client: the 120 is still open, with what was left of its time.
#[test]
fn deta_refused_leaves_the_choice() {
    let mut scene = submitted(asking(30), &checkpointed(MESSAGE));
    scene
        .s("120 wait")
        .wait(10)
        .choose(Choice::Detach)
        .c("DETA\r\n")
        .wait(5);
    scene.s("450 4.7.1 too many");
    let question = scene.question.take().unwrap();
    assert_eq!(question.reply().code().get(), 450);
    assert!(!question.can_detach());
    assert_eq!(question.until(), scene.now + Duration::from_secs(20));
    // Not a second time; the question comes back.
    let error = scene
        .smtp
        .choose(scene.now, question, Choice::Detach)
        .unwrap_err();
    let ChoiceError::NoDetach(question) = error else {
        panic!("{error:?}");
    };
    scene.c("");
    scene.question = Some(question);
    scene.choose(Choice::CarryOn).c("CONT\r\n").s("120 wait");
    // At the next 120 it may be tried again.
    assert!(scene.question.as_ref().unwrap().can_detach());
    scene.choose(Choice::Detach).c("DETA\r\n").s("221 bye");
    assert!(matches!(scene.outcome(), Outcome::Detached { .. }));
}

#[test]
fn a_question_of_another_session_is_told_apart() {
    let mut one = submitted(asking(30), &plain(MESSAGE));
    let mut other = submitted(asking(30), &plain(MESSAGE));
    one.s("120 wait");
    other.s("120 wait");
    let question = one.question.take().unwrap();
    let error = other.smtp.choose(NOW, question, Choice::Abort).unwrap_err();
    assert!(matches!(
        error,
        ChoiceError::Usage(UsageError::ForeignToken)
    ));
    other.c("");
}

/// DE-06.
#[test]
fn where_detaching_is_possible() {
    use DetachOffer as D;
    for (keywords, detach, may) in [
        (&["RDLV", "DETA", "DSN"][..], D::Advertised, true),
        (&["RDLV", "DETA", "DSN"], D::Never, false),
        (&["RDLV", "DSN"], D::Advertised, false),
        (&["RDLV", "DSN"], D::Tolerant, true),
        (&["RDLV", "DETA"], D::Advertised, false),
        (&["RDLV", "DETA"], D::Tolerant, false),
    ] {
        let mut request = asking(600);
        request.settings.detach = detach;
        let mut scene = ready(request, keywords);
        scene.send(&plain(MESSAGE)).c(PLAIN).s("250 ok");
        // A failure that nobody waits for is asked to be reported.
        scene.c(if may { RCPT_FAILURE } else { RCPT }).s("250 ok");
        scene
            .c("RDLV maxtimer=600\r\n")
            .s("250 ok")
            .c("DATA\r\n")
            .s("354 go")
            .c(DATA);
        scene.s("120 wait");
        assert_eq!(
            scene.question.as_ref().unwrap().can_detach(),
            may,
            "{keywords:?}"
        );
    }
}

#[test]
fn notify_is_added_where_none_was_named() {
    let rcpt = |line: &str| RcptLine::parse(line.as_bytes().to_vec()).unwrap();
    let transaction =
        UnfinishedTransaction::builder(client_scene::ned(), Content::measure(MESSAGE), 0)
            .recipient(rcpt("RCPT TO:<a@b>"))
            .recipient(rcpt("RCPT TO:<c@d> NOTIFY=NEVER"))
            .recipient(rcpt("RCPT TO:<e@f> ORCPT=rfc822;g@h"))
            .recipient(rcpt("RCPT TO:<i@j> NOTIFY=SUCCESS"))
            .transid(TransId::parse(b"<12345@claremont.edu>").unwrap())
            .build()
            .unwrap();
    let lines = "RCPT TO:<a@b> NOTIFY=FAILURE\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\n\
                 RCPT TO:<e@f> ORCPT=rfc822;g@h NOTIFY=FAILURE\r\nRCPT TO:<i@j> NOTIFY=SUCCESS\r\n";
    let keywords = [ALL, &["PIPELINING"]].concat();
    let mut scene = ready(asking(30), &keywords);
    scene
        .send(&transaction)
        .c(MAIL)
        .s("250 ok")
        .c(&format!("{lines}RDLV maxtimer=30\r\n"));
    for _ in 0..5 {
        scene.s("250 ok");
    }
    scene.c("DATA\r\n").s("354 go").c(DATA);
    scene.smtp.handle_eof(NOW);
    let (_, interrupted) = scene.interrupted();
    // The restart repeats them as they were, be it with RDLV or without.
    let loaded = UnfinishedTransaction::decode(&interrupted.encode()).unwrap();
    let mut scene = Scene::with(config(), MESSAGE);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    hello(&mut scene, &keywords);
    scene
        .send(&loaded)
        .c(MAIL)
        .s("250 ok")
        .c(&format!("{lines}DATA\r\n"));

    // Where it cannot be detached, nothing is added.
    let mut scene = ready(patient(30), &keywords);
    scene.send(&transaction).c(MAIL).s("250 ok");
    let lines = lines.replacen(" NOTIFY=FAILURE", "", 2);
    scene.c(&format!("{lines}RDLV maxtimer=30\r\n"));
}

/// DE-07: 221 and it is the server's; nothing is sent of it again, whatever comes.
#[test]
fn a_detached_message_is_over() {
    for transaction in [plain(MESSAGE), checkpointed(MESSAGE)] {
        let mut scene = submitted(asking(30), &transaction);
        scene.s("120 wait").choose(Choice::Detach).c("DETA\r\n");
        scene.s("221 2.0.0 we go on").c("");
        let outcome = scene.outcome();
        assert!(matches!(&outcome, Outcome::Detached { reply } if reply.code().get() == 221));
        assert!(outcome.is_spent(), "there is nothing to send again");
        assert_eq!(scene.ending, Some(Ending::Detached));
        scene.smtp.outcome_stored(scene.now).unwrap();
        scene.s("120 wait").s("250 ok").wait(10_000);
        scene.smtp.handle_eof(scene.now);
        scene.c("");
        assert_eq!(
            (scene.outcome.take(), scene.smtp.poll_timeout()),
            (None, None)
        );
        assert!(scene.smtp.send(scene.now, &transaction).is_err());
    }
}

fn at(host: &str, address: &str) -> Address {
    Address {
        server: Server {
            host: host.into(),
            address: address.into(),
        },
        scope: ClientScope {
            name: b"ymir.claremont.edu".to_vec(),
            ..ClientScope::default()
        },
    }
}

/// With CHECKPOINT a connection lost while the server decides, with a 120 open, or between DETA and
/// 221 is a restart: it goes to the same server, waits under RDLV as before, and gets the reply.
#[test]
fn a_loss_while_the_server_decides_is_restarted() {
    for lost_at in 0..4 {
        let mut scene = submitted(patient(30), &checkpointed(MESSAGE));
        if lost_at == 3 {
            scene = submitted(asking(30), &checkpointed(MESSAGE));
        }
        if lost_at > 0 {
            scene.s("120 wait");
        }
        match lost_at {
            2 => drop(scene.choose(Choice::CarryOn).c("CONT\r\n")),
            3 => drop(scene.choose(Choice::Detach).c("DETA\r\n")),
            _ => {}
        }
        scene.smtp.handle_eof(scene.now);
        let (cause, transaction) = scene.interrupted();
        let expected = if lost_at == 3 {
            Cause::DetachUnanswered
        } else {
            Cause::Lost
        };
        assert_eq!(cause, expected);

        let transaction = UnfinishedTransaction::decode(&transaction.encode()).unwrap();
        let step = transaction.next_step(0, &RestartPolicy::default(), &Content::measure(MESSAGE));
        assert_eq!(step, NextStep::Send);
        let addresses = [at("mx1", "1"), at("mx2", "2")];
        let mut order = Reconnect::new(&transaction).order(&addresses);
        assert_eq!((order.next(), order.next()), (Some(0), Some(1)));

        let mut scene = ready(asking(30), ALL);
        scene
            .send(&transaction)
            .c(MAIL)
            .s("355 26 is the transaction offset")
            .c("RDLV maxtimer=30\r\n")
            .s("250 ok")
            .c("DATA\r\n")
            .s("354 go")
            .c(".\r\n")
            .s("120 still at it")
            .choose(Choice::CarryOn)
            .c("CONT\r\n")
            .s("250 taken");
        assert!(
            matches!(scene.outcome(), Outcome::Delivered { .. }),
            "{lost_at}"
        );
        assert_eq!(scene.lowest, None, "no content was asked for");
    }
}

/// Without CHECKPOINT nobody tells, and the cause says how near the server came to it.
#[test]
fn a_loss_without_checkpoint_is_unknown() {
    for (choice, cause) in [
        (Choice::CarryOn, Cause::Lost),
        (Choice::Detach, Cause::DetachUnanswered),
        (Choice::Abort, Cause::AbortUnanswered),
    ] {
        let mut scene = submitted(asking(30), &plain(MESSAGE));
        scene.s("120 wait").choose(choice).run();
        drop(scene.smtp.take_output());
        scene.smtp.handle_eof(scene.now);
        let Outcome::Unknown {
            cause: told,
            transaction,
        } = scene.outcome()
        else {
            panic!("nobody knows");
        };
        assert_eq!(told, cause);
        let step = transaction.next_step(0, &RestartPolicy::default(), transaction.content());
        assert_eq!(step, NextStep::Unknown);
    }
}

/// RD-13: what a RSET in answer to a 120 came to.
#[test]
fn abort() {
    let abort = |reset_aborts, transaction: &UnfinishedTransaction, reply: &str| {
        let mut request = patient(30);
        request.settings.reset_aborts = reset_aborts;
        let mut scene = submitted(request, transaction);
        scene
            .s("120 wait")
            .choose(Choice::Abort)
            .c("RSET\r\n")
            .s(reply);
        scene
    };
    for transaction in [plain(MESSAGE), checkpointed(MESSAGE)] {
        let mut scene = abort(true, &transaction, "250 2.0.0 OK");
        let outcome = scene.outcome();
        assert!(matches!(outcome, Outcome::Aborted { .. }), "{outcome:?}");
        assert!(outcome.is_spent());
        // The session goes on.
        scene.smtp.outcome_stored(scene.now).unwrap();
        scene.send(&plain(MESSAGE)).c(PLAIN);

        let mut scene = abort(false, &transaction, "250 2.0.0 OK");
        let outcome = scene.outcome();
        let Outcome::Unknown {
            cause: Cause::Answered(Stage::Reset, _),
            ..
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        scene.smtp.outcome_stored(scene.now).unwrap();
        assert!(scene.smtp.is_ready(), "the server has no transaction open");

        // Too late: the server tells at a restart how it decided.
        let mut scene = abort(true, &transaction, "554 5.5.0 too late");
        let outcome = scene.outcome();
        let restarts = transaction.transid().is_some();
        match &outcome {
            Outcome::Interrupted { cause, transaction } if restarts => {
                assert!(matches!(cause, Cause::Answered(Stage::Reset, _)));
                assert!(transaction.is_restart());
            }
            Outcome::Unknown { .. } if !restarts => {}
            _ => panic!("{outcome:?}"),
        }
        scene.smtp.outcome_stored(scene.now).unwrap();
        scene.c("QUIT\r\n");
    }
}

/// A policy needs no event answered.
#[test]
fn a_policy_drives_a_whole_transaction() {
    let minute = |then| Policy {
        carry_on_for: Duration::from_secs(60),
        then,
    };
    let run = |then| {
        let mut scene = submitted(asking(30).policy(minute(then)), &checkpointed(MESSAGE));
        for _ in 0..2 {
            scene.wait(29).s("120 wait").c("CONT\r\n");
        }
        scene.wait(29).s("120 wait");
        assert!(scene.question.is_none());
        scene
    };
    let mut scene = run(Then::Detach);
    scene.c("DETA\r\n").s("221 bye");
    assert!(matches!(scene.outcome(), Outcome::Detached { .. }));
    let chosen = [Choice::CarryOn, Choice::CarryOn, Choice::Detach];
    assert_eq!(scene.chosen, chosen.map(|choice| (120, choice)));
    assert_eq!(scene.warnings, 0);

    // Refused: it carries on, and asks again at the next 120.
    let mut scene = run(Then::Detach);
    scene
        .c("DETA\r\n")
        .s("450 4.7.1 too many")
        .c("CONT\r\n")
        .wait(29)
        .s("120 wait");
    scene
        .c("DETA\r\n")
        .s("450 4.7.1 too many")
        .c("CONT\r\n")
        .s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    assert_eq!(scene.chosen.last(), Some(&(450, Choice::CarryOn)));

    let mut scene = run(Then::Abort);
    scene.c("RSET\r\n").s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Unknown { .. }));

    // The decision comes in time.
    let mut scene = submitted(asking(30).policy(minute(Then::Abort)), &plain(MESSAGE));
    scene
        .wait(29)
        .s("120 wait")
        .c("CONT\r\n")
        .wait(20)
        .s("550 5.7.1 no");
    assert!(matches!(scene.outcome(), Outcome::Refused { .. }));
    scene.quit();
}

/// SM-10: a 120 comes only before the first of several final replies.
#[test]
fn lmtp_has_a_120_only_before_the_first_final_reply() {
    let transaction =
        UnfinishedTransaction::builder(client_scene::ned(), Content::measure(MESSAGE), 0)
            .recipient(client_scene::rcpt("a@b"))
            .recipient(client_scene::rcpt("c@d"))
            .recipient(client_scene::rcpt("e@f"))
            .lmtp()
            .build()
            .unwrap();
    let submitted = || {
        let config = config().rdlv(asking(30)).protocol(Protocol::Lmtp);
        let mut scene = Scene::with(config, MESSAGE);
        scene.s("220 hi").c("LHLO ymir.claremont.edu\r\n");
        hello(&mut scene, &["PIPELINING", "RDLV"]);
        let group = "RCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRDLV maxtimer=30\r\n";
        scene.send(&transaction).c(&format!("{PLAIN}{group}"));
        scene
            .s("250 ok")
            .s("250 ok")
            .s("550 no")
            .s("250 ok")
            .s("250 ok");
        scene.c("DATA\r\n").s("354 go").c(DATA);
        for _ in 0..2 {
            scene.s("120 wait").choose(Choice::CarryOn).c("CONT\r\n");
        }
        scene
    };
    let mut scene = submitted();
    scene.s("250 ok").c("");
    assert_eq!(scene.finals, [(0, 250)]);
    assert_eq!(
        scene.due(),
        Some(600.0),
        "the others are waited for as ever"
    );
    scene.s("452 full");
    let Outcome::PerRecipient { replies } = scene.outcome() else {
        panic!("both are there");
    };
    let told: Vec<_> = replies
        .iter()
        .map(|(index, reply)| (*index, reply.code().get()))
        .collect();
    assert_eq!(told, [(0, 250), (2, 452)]);

    let mut scene = submitted();
    scene.s("250 ok").s("120 wait");
    assert_eq!(scene.faults, [PeerError::UnexpectedReply]);
    assert_eq!(scene.finals, [(0, 250)], "what was told stands");

    let mut scene = submitted();
    scene.s("250 ok");
    scene.smtp.handle_eof(scene.now);
    assert!(matches!(scene.outcome(), Outcome::Unknown { .. }));
}

/// BURL is rejected as a whole, the last chunk for each recipient: so the server of this crate
/// does it.
#[test]
fn lmtp_520() {
    let ready = |transaction: &UnfinishedTransaction, keywords: &[&str]| {
        let config = config().rdlv(asking(30)).protocol(Protocol::Lmtp);
        let mut scene = Scene::with(config, MESSAGE);
        scene.s("220 hi").c("LHLO ymir.claremont.edu\r\n");
        hello(&mut scene, keywords);
        scene.send(transaction).c(PLAIN).s("250 ok");
        scene
            .c("RCPT TO:<a@b>\r\n")
            .s("250 ok")
            .c("RCPT TO:<c@d>\r\n")
            .s("250 ok");
        scene.c("RDLV maxtimer=30\r\n").s("250 ok");
        scene
    };
    let builder = || {
        UnfinishedTransaction::builder(client_scene::ned(), Content::measure(MESSAGE), 0)
            .recipient(client_scene::rcpt("a@b"))
            .recipient(client_scene::rcpt("c@d"))
            .lmtp()
    };
    let by_url = builder().burl(URL).build().unwrap();
    let burl = format!("BURL {URL} LAST\r\n");
    let mut scene = ready(&by_url, &["RDLV", "BURL imap"]);
    scene
        .c(&burl)
        .s("520 no")
        .c(&burl)
        .s("250 ok")
        .s("450 full");
    assert_eq!(scene.finals, [(0, 250), (1, 450)]);
    assert!(matches!(scene.outcome(), Outcome::PerRecipient { .. }));
    // One that says it for each recipient all the same is not misread.
    let mut scene = ready(&by_url, &["RDLV", "BURL imap"]);
    scene.c(&burl).s("520 no").c(&burl).s("520 no");
    assert_eq!(scene.faults, [PeerError::UnexpectedReply]);
    assert!(matches!(scene.outcome(), Outcome::Unknown { .. }));

    let in_chunks = builder().bdat().build().unwrap();
    let mut scene = ready(&in_chunks, &["RDLV", "CHUNKING"]);
    scene
        .c(WHOLE)
        .s("520 no")
        .c("")
        .s("520 no")
        .c("RSET\r\n")
        .s("250 ok")
        .c(PLAIN);
    // One recipient has it: the other one was refused, and nothing is sent again.
    let mut scene = ready(&in_chunks, &["RDLV", "CHUNKING"]);
    scene.c(WHOLE).s("520 no").s("250 ok").c("");
    assert_eq!(scene.finals, [(0, 520), (1, 250)]);
    assert!(matches!(scene.outcome(), Outcome::PerRecipient { .. }));
    // Lost in between: the other one may have it.
    let mut scene = ready(&in_chunks, &["RDLV", "CHUNKING"]);
    scene.c(WHOLE).s("520 no");
    scene.smtp.handle_eof(NOW);
    assert!(matches!(scene.outcome(), Outcome::Unknown { .. }));
}

/// A 421 is a 4yz in the place of the final reply, but not once the server has said that it is at
/// work.
#[test]
fn a_421_behind_a_120_decides_nothing() {
    let mut scene = submitted(patient(30), &plain(MESSAGE));
    scene.s("421 bye");
    assert!(matches!(scene.outcome(), Outcome::Deferred { .. }));
    let mut scene = submitted(patient(30), &plain(MESSAGE));
    scene
        .s("120 wait")
        .choose(Choice::CarryOn)
        .c("CONT\r\n")
        .s("421 bye");
    let outcome = scene.outcome();
    let Outcome::Unknown {
        cause: Cause::Closed(_),
        ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(scene.ending, Some(Ending::Closed));
}

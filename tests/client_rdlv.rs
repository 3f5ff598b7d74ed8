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
use smtp_checkpoint::rdlv::{self, Choice, ClientSettings, DetachOffer, Policy, Then};
use smtp_checkpoint::transid::TransId;

mod client_scene;

use client_scene::{MAIL, NOW, RCPT, Scene, checkpointed, config, plain};

const MESSAGE: &[u8] = b"lots\r\n.and lots\r\nof data\r\n";
const DATA: &str = "lots\r\n..and lots\r\nof data\r\n.\r\n";
const PLAIN: &str = "MAIL FROM:<ned@ymir.claremont.edu>\r\n";
/// Where it may be detached.
const RCPT_FAILURE: &str = "RCPT TO:<mrose@dbc.mtview.ca.us> NOTIFY=FAILURE\r\n";
const ALL: &str = "RDLV%mintimer=30 DETA DSN";
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

fn scene(request: RdlvRequest) -> Scene {
    Scene::with(config().rdlv(request), MESSAGE)
}

/// Up to the point where a transaction can be sent; `%` is a space within a keyword's line.
fn greet<'s>(scene: &'s mut Scene, keywords: &str) -> &'s mut Scene {
    scene
        .s("220 dbc.mtview.ca.us SMTP service ready")
        .c("EHLO ymir.claremont.edu\r\n");
    let mut lines = vec!["dbc.mtview.ca.us says hello".to_owned()];
    lines.extend(keywords.split(' ').map(|keyword| keyword.replace('%', " ")));
    let last = lines.pop().unwrap();
    for line in lines {
        scene.s(&format!("250-{line}"));
    }
    scene.s(&format!("250 {last}"))
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
    UnfinishedTransaction::builder(mail, Content::measure(MESSAGE)).recipient(rcpt)
}

fn example_scene(request: RdlvRequest) -> Scene {
    let config = smtp_checkpoint::client::ClientConfig::builder("example.com").rdlv(request);
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

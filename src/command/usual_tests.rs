//! What is read in one go is what the longer way reads.

use super::error::CommandError;
use super::mailbox::{scan_any_mailbox, scan_usual_mailbox};
use super::parse::Command;
use proptest::prelude::*;
use std::format;

fn error(line: &[u8]) -> Option<CommandError> {
    Command::parse(line).err()
}

#[test]
fn what_no_line_may_hold_is_told_before_all_else() {
    for line in [
        &b"MAIL FROM:<a@b> SIZE=x\0"[..],
        b"MAIL FROM:<a\n@b>",
        b"MAIL FROM:<> X=\r",
        b"RCPT TO:<a@b\0c>",
        b"RCPT TO:<\"a\rb\"@c>",
        b"RCPT TO:<a@b> NOTIFY=\nNEVER",
        b"MAIL\0FROM:<a@b>",
        b"RCPT\0TO:<a@b>",
    ] {
        assert_eq!(error(line), Some(CommandError::ForbiddenOctet), "{line:?}");
    }
}

#[test]
fn keywords_end_where_they_should() {
    for (line, found) in [
        (&b"MAIL FROM:<> SIZE =5"[..], CommandError::Size),
        (b"MAIL FROM:<> SIZE\x1d   =5", CommandError::Parameter),
        (b"MAIL FROM:<> SIZE=5=", CommandError::Size),
        (b"MAIL FROM:<> SIZE=5\x7f", CommandError::Parameter),
        (
            b"MAIL FROM:<> SIZE=5 SIZE=5",
            CommandError::DuplicateParameter,
        ),
        (b"MAIL FROM:<> BODY=7BITS", CommandError::Body),
        (b"RCPT TO:<a@b> NOTIFY=NEVER,DELAY", CommandError::Notify),
        (b"RCPT TO:<a@b> NOTIFY=DELAY,", CommandError::Notify),
        (b"RCPT TO:<a@b> NOTIFY=DELAY\x0b", CommandError::Parameter),
        (b"RCPT TO:<a@b> ORCPT=rfc822;", CommandError::Orcpt),
        (b"RCPT TO:<a@b> ORCPT=rfc822;a+0Ab", CommandError::Orcpt),
        (b"RCPT TO:<a@b> ORCPT=rfc\x182;a", CommandError::Parameter),
    ] {
        assert_eq!(error(line), Some(found), "{}", line.escape_ascii());
    }
}

/// Two side by side that are neither letters nor digits, what stands around the input being
/// neither; or octets beyond ASCII.
fn is_rare(input: &str) -> bool {
    let around = format!("<{input}>");
    let mut pairs = around.as_bytes().windows(2);
    !input.is_ascii() || pairs.any(|pair| !pair.iter().any(u8::is_ascii_alphanumeric))
}

/// It once was taken for one that has to be read in one go.
#[test]
fn a_mailbox_with_a_low_line_at_its_end_is_a_rare_one() {
    let input = "a@b_";
    assert!(scan_any_mailbox(input.as_bytes()).is_ok());
    assert_eq!(scan_usual_mailbox(input.as_bytes()), None);
    assert!(is_rare(input));
}

proptest! {
    // Behind two SPACEs no parameter is read in one go.
    #[test]
    fn the_usual_way_and_the_other_come_to_the_same(
        verb in prop::sample::select(&["MAIL FROM:<a.b@c-d.e>", "RCPT TO:<a@b>"][..]),
        pieces in prop::collection::vec(prop::sample::select(&[
            "SIZE=", "size=12", "18446744073709551615", "9999999999999999999", "BODY=8bitmime",
            "BODY=7BIT", "TRANSID=<a.b-c@d>", "TRANSID=<a@", "b..c>", "b>", "TRANSOFF=7", "X=1",
            "NOTIFY=", "SUCCESS", ",", "delay", "NEVER", "ORCPT=rfc822;", "a+2Bb", "+0A", "\u{e9}",
            "=", "\t", " ", "\x7f", "\0", "RET=FULL", "orcpt=utf-8;x", "SMTPUTF8",
        ][..]), 0..7),
        spaces in any::<u8>(),
    ) {
        let line = |space: &str| {
            let mut line = std::string::String::from(verb);
            for (at, piece) in pieces.iter().enumerate() {
                if spaces >> at & 1 == 1 {
                    line.push_str(space);
                }
                line.push_str(piece);
            }
            line
        };
        let said = |line: &str| Command::parse(line.as_bytes()).map(|command| match command {
            Command::Mail(mail) => format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                mail.reverse_path, mail.size, mail.body, mail.smtputf8, mail.ret, mail.transid,
                mail.transid_value,
            ),
            Command::Rcpt(rcpt) => {
                format!("{:?} {:?} {:?}", rcpt.forward_path, rcpt.notify, rcpt.orcpt)
            }
            _ => std::string::String::new(),
        });
        prop_assert_eq!(said(&line(" ")), said(&line("  ")));
    }

    #[test]
    fn a_usual_mailbox_is_a_mailbox(
        pieces in prop::collection::vec(prop::sample::select(&[
            "a", "Z9", "sixteen.octets.x", "@", "@", ".", "-", "_", "+", "!", ">", " ", "\"", "[", "\0",
            "\u{e9}", "=", "\x7f", "long-label-of-33-octets-and-no-dot",
        ][..]), 0..9),
    ) {
        let input = pieces.concat();
        let any = scan_any_mailbox(input.as_bytes());
        match scan_usual_mailbox(input.as_bytes()) {
            Some(usual) => prop_assert_eq!(Ok(usual), any),
            None => prop_assert!(any.is_err() || is_rare(&input)),
        }
    }
}

//! The client's machine: what it does on each reply, timer and choice.

use super::*;
use crate::limits::Limits;
use crate::reply::{ReplyCode, standard};

pub(in crate::rdlv) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

pub(in crate::rdlv) fn offering(keywords: &[&str]) -> Capabilities {
    let lines = core::iter::once("mx.example").chain(keywords.iter().copied());
    let reply = Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
    Capabilities::from_reply(&reply, &Limits::default()).unwrap()
}

pub(in crate::rdlv) fn code(code: u16) -> Reply {
    Reply::with_text(ReplyCode::new(code).unwrap(), None, "x").unwrap()
}

/// DATA, all of it written and transmitted at 0.
fn waiting(offered: &Capabilities, settings: ClientSettings) -> Client {
    let mut client = Client::new(settings, offered).unwrap();
    client.requested();
    assert_eq!(
        client.handle_reply(at(0), &code(200)),
        ReplyOutcome::Accepted
    );
    client.submitted(EndingVerb::Data);
    assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
    client.end_written(at(0));
    client.transmitted(at(0));
    client
}

/// As `waiting`, and a 120 came at 0.
pub(in crate::rdlv) fn interim(offered: Capabilities, settings: ClientSettings) -> Client {
    let mut client = waiting(&offered, settings);
    let reply = standard::IN_PROGRESS.into();
    assert_eq!(client.handle_reply(at(0), &reply), ReplyOutcome::Interim);
    client
}

fn all() -> Capabilities {
    offering(&["RDLV mintimer=30", "DETA", "DSN"])
}

#[test]
fn maxtimer_is_never_below_mintimer() {
    for (wanted, keyword, asked) in [
        (600, "RDLV mintimer=30", 600),
        (30, "RDLV mintimer=30", 30),
        (29, "RDLV mintimer=30", 30),
        (1, "RDLV mintimer=2147483647", 2_147_483_647),
        (0, "RDLV", 1),
        (u32::MAX, "RDLV", 2_147_483_647),
    ] {
        let client = Client::new(ClientSettings::new(wanted), &offering(&[keyword])).unwrap();
        assert_eq!(client.rdlv().maxtimer, asked, "{wanted} {keyword}");
        assert!(CommandLine::rdlv(client.rdlv()).is_ok());
    }
    let none = Client::new(ClientSettings::new(60), &offering(&["DETA", "DSN"]));
    assert_eq!(none.err(), Some(NotOffered));
}

#[test]
fn rdlv_and_the_ending_verb_are_last_of_their_groups() {
    let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
    assert_eq!(client.sending(), Sending::AsEver);
    client.requested();
    assert_eq!(client.sending(), Sending::Wait);
    assert_eq!(
        client.handle_reply(at(0), &code(250)),
        ReplyOutcome::Accepted
    );
    assert_eq!(client.sending(), Sending::AsEver);
    client.submitted(EndingVerb::BdatLast);
    assert_eq!(client.sending(), Sending::Wait);
    client.end_written(at(0));
    assert_eq!(client.sending(), Sending::Wait);
    assert_eq!(
        client.handle_reply(at(0), &code(120)),
        ReplyOutcome::Interim
    );
    assert_eq!(client.sending(), Sending::Choice);
    let over = client.handle_reply(at(0), &code(421));
    let closed = Outcome::Unknown(UnknownBecause::ServerClosed);
    assert_eq!(over, ReplyOutcome::Over(closed));
    assert_eq!(client.sending(), Sending::AsEver);
}

#[test]
fn any_2yz_accepts_and_a_refusal_goes_without() {
    for (reply, outcome) in [
        (250, ReplyOutcome::Accepted),
        (200, ReplyOutcome::Accepted),
        (299, ReplyOutcome::Accepted),
        (501, ReplyOutcome::Declined),
        (450, ReplyOutcome::Declined),
        (120, ReplyOutcome::Unexpected),
    ] {
        let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
        client.requested();
        assert_eq!(client.handle_reply(at(0), &code(reply)), outcome, "{reply}");
    }
}

#[test]
fn a_120_that_was_not_asked_for_is_a_protocol_error() {
    let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
    assert_eq!(
        client.handle_reply(at(0), &code(120)),
        ReplyOutcome::Unexpected
    );
    client.requested();
    assert_eq!(
        client.handle_reply(at(0), &code(501)),
        ReplyOutcome::Declined
    );
    client.submitted(EndingVerb::Data);
    client.end_written(at(0));
    assert_eq!(
        client.handle_reply(at(0), &code(120)),
        ReplyOutcome::Unexpected
    );
    // and the message goes as ever
    assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
    assert_eq!(client.handle_reply(at(0), &code(250)), ReplyOutcome::Pass);
    assert_eq!(client.outcome(), Outcome::NotSubmitted);
    assert_eq!(client.poll_timeout(), None);
    // nor while the content is on its way
    let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
    client.requested();
    let _accepted = client.handle_reply(at(0), &code(250));
    client.submitted(EndingVerb::Data);
    assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
    assert_eq!(
        client.handle_reply(at(0), &code(120)),
        ReplyOutcome::Unexpected
    );
    assert_eq!(
        client.handle_reply(at(0), &code(250)),
        ReplyOutcome::Unexpected
    );
    assert_eq!(client.lost(), Lost::BeforeTheEnd);
}

#[test]
fn a_verb_that_cannot_is_repeated_without_rdlv() {
    for (verb, repeat) in [
        (EndingVerb::Data, Repeat::Verb),
        (EndingVerb::BurlLast, Repeat::Verb),
        (EndingVerb::BdatLast, Repeat::Transaction),
    ] {
        let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
        client.requested();
        let _accepted = client.handle_reply(at(0), &code(250));
        client.submitted(verb);
        client.end_written(at(0));
        let outcome = client.handle_reply(at(0), &standard::CANNOT_DELAY.into());
        assert_eq!(outcome, ReplyOutcome::NotPossible(repeat));
        assert_eq!(client.lost(), Lost::BeforeTheEnd);
    }
    // not before the dot: nothing of the message is known to the server any more
    let mut client = waiting(&all(), ClientSettings::new(60));
    let outcome = client.handle_reply(at(0), &code(520));
    assert_eq!(outcome, ReplyOutcome::NotPossible(Repeat::Transaction));
}

#[test]
fn data_refused_leaves_rdlv_in_force() {
    let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
    client.requested();
    let _accepted = client.handle_reply(at(0), &code(250));
    client.submitted(EndingVerb::Data);
    assert_eq!(client.sending(), Sending::Wait);
    assert_eq!(client.handle_reply(at(0), &code(451)), ReplyOutcome::Pass);
    assert_eq!(client.sending(), Sending::AsEver);
    client.submitted(EndingVerb::Data);
    assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
    client.end_written(at(0));
    assert_eq!(
        client.handle_reply(at(0), &code(120)),
        ReplyOutcome::Interim
    );
}

#[test]
fn it_waits_maxtimer_and_the_margin() {
    for (maxtimer, due) in [(30, 37), (2_147_483_647, 2_147_483_654)] {
        let mut client = waiting(&all(), ClientSettings::new(maxtimer));
        assert_eq!(client.poll_timeout(), Some(at(due)));
        assert_eq!(client.handle_timeout(at(due - 1)), ClientTimeout::Nothing);
        assert_eq!(client.outcome(), Outcome::StillDeciding);
        let unknown = Outcome::Unknown(UnknownBecause::NoReply);
        assert_eq!(client.handle_timeout(at(due)), ClientTimeout::Over(unknown));
        assert_eq!(client.outcome(), unknown);
        assert_eq!(client.poll_timeout(), None);
    }
}

#[test]
fn the_wait_begins_when_the_end_is_transmitted() {
    let mut client = Client::new(ClientSettings::new(30), &all()).unwrap();
    client.requested();
    let _accepted = client.handle_reply(at(0), &code(250));
    client.submitted(EndingVerb::BurlLast);
    client.end_written(at(0));
    client.transmitted(at(10));
    client.transmitted(at(20));
    assert_eq!(client.poll_timeout(), Some(at(47)));
    let _interim = client.handle_reply(at(30), &code(120));
    let _line = client.choose(at(31), Choice::CarryOn).unwrap();
    assert_eq!(client.poll_timeout(), Some(at(68)));
    client.transmitted(at(32));
    assert_eq!(client.poll_timeout(), Some(at(69)));
    assert_eq!(client.submitted_at(), at(10));
}

#[test]
fn a_warning_comes_a_margin_before_maxtimer_runs_out() {
    let mut client = interim(all(), ClientSettings::new(30));
    assert_eq!(client.poll_timeout(), Some(at(23)));
    assert_eq!(client.handle_timeout(at(22)), ClientTimeout::Nothing);
    assert_eq!(client.handle_timeout(at(23)), ClientTimeout::Warning);
    assert_eq!(client.poll_timeout(), Some(at(30)));
    assert_eq!(client.handle_timeout(at(29)), ClientTimeout::Nothing);
    let unknown = Outcome::Unknown(UnknownBecause::NoChoice);
    assert_eq!(client.handle_timeout(at(30)), ClientTimeout::Over(unknown));
    assert_eq!(
        client.choose(at(30), Choice::CarryOn),
        Err(NotYourTurn::NoInterim)
    );
    // half of a short maxtimer at most
    let client = interim(offering(&["RDLV"]), ClientSettings::new(1));
    let half = Timestamp::from_origin(Duration::from_millis(500));
    assert_eq!(client.poll_timeout(), Some(half));
}

#[test]
fn detach_only_where_all_is_offered() {
    use DetachOffer as D;
    for (keywords, offer, may) in [
        (&["RDLV", "DETA", "DSN"][..], D::Advertised, true),
        (&["RDLV", "DETA", "DSN"], D::Never, false),
        (&["RDLV", "DSN"], D::Advertised, false),
        (&["RDLV", "DSN"], D::Tolerant, true),
        (&["RDLV", "DETA"], D::Advertised, false),
        (&["RDLV", "DETA"], D::Tolerant, false),
    ] {
        let settings = ClientSettings {
            detach: offer,
            ..ClientSettings::new(60)
        };
        let mut client = interim(offering(keywords), settings);
        assert_eq!(client.can_detach(), may, "{keywords:?} {offer:?}");
        assert_eq!(client.choose(at(0), Choice::Detach).is_ok(), may);
    }
    let mut client = waiting(&all(), ClientSettings::new(60));
    assert_eq!(
        client.choose(at(0), Choice::Detach),
        Err(NotYourTurn::NoInterim)
    );
}

#[test]
fn deta_and_what_answers_it() {
    use UnknownBecause as U;
    for (reply, outcome) in [
        (221, Outcome::Detached),
        (421, Outcome::Unknown(U::ServerClosed)),
        (250, Outcome::Unknown(U::BadReply)),
        (120, Outcome::Unknown(U::BadReply)),
    ] {
        let mut client = interim(all(), ClientSettings::new(30));
        let line = client.choose(at(5), Choice::Detach).unwrap();
        assert_eq!(line.as_bytes(), b"DETA");
        let over = client.handle_reply(at(6), &code(reply));
        assert_eq!(over, ReplyOutcome::Over(outcome), "{reply}");
        assert_eq!(client.lost(), Lost::Over(outcome));
    }
    let mut client = interim(all(), ClientSettings::new(30));
    let _line = client.choose(at(5), Choice::Detach).unwrap();
    let unknown = Outcome::Unknown(U::DetachUnanswered);
    assert_eq!(client.clone().lost(), Lost::Over(unknown));
    let late = client.handle_timeout(at(42));
    assert_eq!(late, ClientTimeout::Over(unknown));
}

#[test]
fn deta_refused_leaves_the_120_open() {
    let mut client = interim(all(), ClientSettings::new(30));
    let _line = client.choose(at(5), Choice::Detach).unwrap();
    let refused = client.handle_reply(at(9), &standard::TOO_MANY_DETACHED.into());
    assert_eq!(refused, ReplyOutcome::DetachRefused);
    // as long as there was when DETA was written
    assert_eq!(client.poll_timeout(), Some(at(27)));
    assert_eq!(
        client.choose(at(9), Choice::Detach),
        Err(NotYourTurn::NoDetach)
    );
    let line = client.choose(at(9), Choice::CarryOn).unwrap();
    assert_eq!(line.as_bytes(), b"CONT");
    // at the next 120 it may be tried again, unless it was 5yz
    for (refusal, again) in [(450, true), (502, false)] {
        let mut client = client.clone();
        assert_eq!(
            client.handle_reply(at(10), &code(120)),
            ReplyOutcome::Interim
        );
        let _line = client.choose(at(10), Choice::Detach).unwrap();
        let _refused = client.handle_reply(at(10), &code(refusal));
        let _line = client.choose(at(10), Choice::CarryOn).unwrap();
        assert_eq!(
            client.handle_reply(at(11), &code(120)),
            ReplyOutcome::Interim
        );
        assert_eq!(client.can_detach(), again, "{refusal}");
    }
}

#[test]
fn a_choice_is_due_before_maxtimer_and_only_at_a_120() {
    let mut client = interim(all(), ClientSettings::new(30));
    assert_eq!(client.choose_until(), Some(at(30)));
    let _line = client.choose(at(1), Choice::CarryOn).unwrap();
    assert_eq!(client.choose_until(), None);
}

#[test]
fn no_reply_to_rset_is_as_a_refusal() {
    let mut client = interim(all(), ClientSettings::new(30));
    let _line = client.choose(at(1), Choice::Abort).unwrap();
    let over = Outcome::Unknown(UnknownBecause::ResetRefused);
    let due = client.poll_timeout().unwrap();
    assert_eq!(client.handle_timeout(due), ClientTimeout::Over(over));
    let mut client = interim(all(), ClientSettings::new(30));
    let _line = client.choose(at(1), Choice::Abort).unwrap();
    assert_eq!(client.lost(), Lost::Over(over));
}

#[test]
fn a_refusal_before_the_end_of_the_data_is_final_and_an_acceptance_an_error() {
    for (verb, content) in [(EndingVerb::BdatLast, false), (EndingVerb::Data, true)] {
        for (reply, outcome) in [
            (452, ReplyOutcome::Over(Outcome::Refused)),
            (552, ReplyOutcome::Over(Outcome::Refused)),
            (421, ReplyOutcome::Over(Outcome::ServerClosed)),
            (250, ReplyOutcome::Unexpected),
            (354, ReplyOutcome::Unexpected),
        ] {
            let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
            client.requested();
            let _accepted = client.handle_reply(at(0), &code(250));
            client.submitted(verb);
            if content {
                assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
            }
            let found = client.handle_reply(at(0), &code(reply));
            assert_eq!(found, outcome, "{verb:?} {reply}");
        }
    }
}

#[test]
fn a_250_to_rset_is_unknown_unless_declared() {
    use UnknownBecause as U;
    for (declared, reply, outcome) in [
        (true, 250, Outcome::Aborted),
        (false, 250, Outcome::Unknown(U::ResetAccepted)),
        (true, 554, Outcome::Unknown(U::ResetRefused)),
        (false, 554, Outcome::Unknown(U::ResetRefused)),
        (true, 421, Outcome::Unknown(U::ServerClosed)),
    ] {
        let settings = ClientSettings {
            reset_aborts: declared,
            ..ClientSettings::new(30)
        };
        let mut client = interim(all(), settings);
        let line = client.choose(at(1), Choice::Abort).unwrap();
        assert_eq!(line.as_bytes(), b"RSET");
        let over = client.handle_reply(at(2), &code(reply));
        assert_eq!(over, ReplyOutcome::Over(outcome), "{declared} {reply}");
    }
}

#[test]
fn final_replies() {
    use UnknownBecause as U;
    for (reply, first, after_cont) in [
        (250, Outcome::Delivered, Outcome::Delivered),
        (452, Outcome::Refused, Outcome::Refused),
        (554, Outcome::Refused, Outcome::Refused),
        (
            421,
            Outcome::ServerClosed,
            Outcome::Unknown(U::ServerClosed),
        ),
        (500, Outcome::Refused, Outcome::Unknown(U::BadReply)),
        (503, Outcome::Refused, Outcome::Unknown(U::BadReply)),
    ] {
        let mut client = waiting(&all(), ClientSettings::new(30));
        let over = client.handle_reply(at(0), &code(reply));
        assert_eq!(over, ReplyOutcome::Over(first), "{reply}");
        let mut client = interim(all(), ClientSettings::new(30));
        let _line = client.choose(at(0), Choice::CarryOn).unwrap();
        let over = client.handle_reply(at(0), &code(reply));
        assert_eq!(over, ReplyOutcome::Over(after_cont), "{reply}");
        // with LMTP more of them come
        assert_eq!(client.handle_reply(at(0), &code(250)), ReplyOutcome::Pass);
        assert_eq!(client.outcome(), after_cont);
    }
}

#[test]
fn notify_for_a_message_that_may_be_detached() {
    let failure = Notify::On(NotifyOn::FAILURE);
    assert_eq!(ClientSettings::notify(None), failure);
    assert_eq!(ClientSettings::notify(Some(Notify::Never)), Notify::Never);
    let delay = Notify::On(NotifyOn::DELAY);
    assert_eq!(ClientSettings::notify(Some(delay)), delay);
}

/// Every order of replies, choices, time and loss behind the end of the data, of seven events:
/// an outcome is told once and stays, and is what the replies say.
#[test]
fn every_order_of_events_has_one_outcome() {
    const REPLIES: [u16; 8] = [120, 221, 250, 354, 421, 450, 503, 554];
    fn explore(client: &Client, now: u64, asked: Option<Choice>, depth: u32, orders: &mut u64) {
        assert_eq!(client.outcome(), Outcome::StillDeciding);
        assert!(client.poll_timeout().is_some());
        let open = client.sending() == Sending::Choice;
        for reply in REPLIES {
            let mut next = client.clone();
            let outcome = next.handle_reply(at(now), &code(reply));
            let expected = match (asked, open, reply) {
                (_, true, 421) => Some(Outcome::Unknown(UnknownBecause::ServerClosed)),
                (_, true, _) => Some(Outcome::Unknown(UnknownBecause::BadReply)),
                (None | Some(Choice::CarryOn), _, 120) => None,
                (None | Some(Choice::CarryOn), _, 221 | 250) => Some(Outcome::Delivered),
                (None | Some(Choice::CarryOn), _, 450 | 554) => Some(Outcome::Refused),
                (None, _, 503) => Some(Outcome::Refused),
                (None, _, 421) => Some(Outcome::ServerClosed),
                (Some(Choice::Detach), _, 221) => Some(Outcome::Detached),
                (Some(Choice::Detach), _, 450 | 503 | 554) => None,
                (Some(Choice::Abort), _, 450 | 503 | 554) => {
                    Some(Outcome::Unknown(UnknownBecause::ResetRefused))
                }
                (Some(Choice::Abort), _, 221 | 250) => {
                    Some(Outcome::Unknown(UnknownBecause::ResetAccepted))
                }
                (_, _, 421) => Some(Outcome::Unknown(UnknownBecause::ServerClosed)),
                _ => Some(Outcome::Unknown(UnknownBecause::BadReply)),
            };
            *orders += 1;
            match expected {
                Some(expected) => {
                    assert_eq!(
                        next.outcome(),
                        expected,
                        "{reply} to {asked:?}, {outcome:?}"
                    );
                    assert_eq!(next.handle_timeout(at(now + 1000)), ClientTimeout::Nothing);
                    assert_eq!(next.lost(), Lost::Over(expected));
                }
                None if depth > 0 => explore(&next, now, None, depth - 1, orders),
                None => {}
            }
        }
        for choice in [Choice::CarryOn, Choice::Detach, Choice::Abort] {
            let mut next = client.clone();
            match next.choose(at(now), choice) {
                Ok(_) => {
                    assert!(open, "a command without a 120");
                    if depth > 0 {
                        explore(&next, now, Some(choice), depth - 1, orders);
                    }
                }
                Err(NotYourTurn::NoInterim) => assert!(!open),
                Err(NotYourTurn::NoDetach) => assert_eq!(choice, Choice::Detach),
            }
        }
        let mut next = client.clone();
        let due = next.poll_timeout().unwrap().elapsed().as_secs();
        match next.handle_timeout(at(due)) {
            ClientTimeout::Warning if depth > 0 => explore(&next, due, asked, depth - 1, orders),
            ClientTimeout::Warning => {}
            ClientTimeout::Over(Outcome::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
        let lost = client.clone().lost();
        assert!(matches!(lost, Lost::Over(Outcome::Unknown(_))), "{lost:?}");
    }
    let mut orders = 0;
    let client = waiting(&all(), ClientSettings::new(30));
    explore(&client, 0, None, 7, &mut orders);
    assert!(orders > 1_000, "{orders}");
}

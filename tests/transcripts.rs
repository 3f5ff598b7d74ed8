//! The dialogues of `tests/spec`, replayed whole, octet by octet and at every split into two: the
//! replies are the same to the octet, and so is what is stored and told in the end.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::script::Script;

fn replay(name: &str, text: &str) {
    let script = Script::parse(text);
    let whole = script.replay(name, &|_| false);
    let single = script.replay(name, &|_| true);
    assert_eq!(whole, single, "{name} octet by octet");
    let octets = script.octets();
    // Within long content only every so often.
    let every = 1 + octets / 1000;
    for cut in (1..octets).filter(|cut| cut % every == 0 || *cut < 300 || octets - cut < 100) {
        let split = script.replay(name, &|at| at == cut);
        assert_eq!(whole, split, "{name} split at {cut}");
    }
}

macro_rules! dialogues {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let name = concat!(stringify!($name), ".smtp");
                replay(name, include_str!(concat!("spec/", stringify!($name), ".smtp")));
            }
        )*

        #[test]
        fn every_file_is_a_test() {
            let known = [$(stringify!($name)),*];
            let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spec");
            let mut seen = 0;
            for file in std::fs::read_dir(files).unwrap() {
                let path = file.unwrap().path();
                let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
                assert!(known.contains(&stem.as_str()), "{stem} is not replayed");
                seen += 1;
            }
            assert_eq!(seen, known.len());
        }
    };
}

dialogues! {
    auth
    auth_scope
    await_decision
    await_withdrawn
    bdat
    bdat_behind_355
    bdat_restart
    burl
    chunk_before_hello
    chunk_refused
    chunk_size_lost
    crash_before_any_record
    crash_while_deciding
    decision_deadline
    deta_abort
    deta_accepted
    deta_again
    deta_crash
    deta_decision_first
    deta_detached_submit
    deta_lmtp
    deta_lost
    deta_not_owed
    deta_pipelined_submit
    deta_refused
    deta_restart
    deta_restart_lost
    deta_restart_waits
    deta_transient
    deta_unrecorded
    dots_across_restart
    dsn
    empty_message
    failed_content
    faults_across_restart
    fenced_at_commit
    fenced_at_data
    half_close
    hello_refused
    helo
    idle_commands
    lmtp
    pipelined_mail_is_fresh
    pipelined_rcpt_order
    pipelining
    rdlv_abort
    rdlv_abort_fenced
    rdlv_bdat
    rdlv_burl_content
    rdlv_cannot
    rdlv_client_gone
    rdlv_decision_deadline
    rdlv_held
    rdlv_hello
    rdlv_late_reset_with_250
    rdlv_lmtp
    rdlv_long_submit
    rdlv_pipelined
    rdlv_remote_submit
    rdlv_request
    rdlv_shorter
    rdlv_shutdown
    rdlv_unsupported_verb
    rdlv_upload
    restart_other_mail
    restart_recipients
    restart_then_reset
    retained_reply
    retained_transient
    rfc1845_section_5
    shutdown_behind_decision
    size
    starttls
    starttls_handover
    starttls_injection
    superseded
    too_many_recipients
    unreadable
    unrecorded
    wrong_length
}

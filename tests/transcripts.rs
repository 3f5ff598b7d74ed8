//! The dialogues of `tests/spec`, replayed whole, octet by octet and at every split into two: the
//! replies are the same to the octet, and so is what is stored and told in the end.
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
    let every = 1 + octets / 2000;
    for cut in (1..octets).filter(|cut| cut % every == 0 || *cut < 500 || octets - cut < 200) {
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
    bdat
    bdat_behind_355
    bdat_restart
    burl
    dsn
    helo
    lmtp
    pipelined_mail_is_fresh
    pipelined_rcpt_order
    pipelining
    rfc1845_section_5
    size
    starttls
    starttls_handover
    starttls_injection
    too_many_recipients
}

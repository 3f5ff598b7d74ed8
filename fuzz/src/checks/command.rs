//! One command line: parsing never panics, and what can be written reads back as it was.

use smtp_checkpoint::command::{
    Bdat, Body, ClientName, Command, CommandLine, Mail, MailLine, MailLineBuilder, Mailbox,
    MailboxBuf, Rcpt, RcptLine, RcptLineBuilder, XText, base64, is_bdat,
};
use smtp_checkpoint::transid::TransId;

pub fn check(data: &[u8]) {
    let line = data;
    texts(line);
    let parsed = Command::parse(line);
    if is_bdat(line) {
        assert!(matches!(&parsed, Ok(Command::Bdat(_)) | Err(_)));
        if let Err(error) = &parsed {
            assert!(error.sync_lost());
        }
    } else if let Err(error) = &parsed {
        assert!(!error.sync_lost());
    }
    match parsed {
        Err(error) => {
            assert!(matches!(error.reply_code(), 500..=599));
            assert_eq!(error.enhanced_code().0, 5);
            assert!(MailLine::parse(line.to_vec()).is_err());
            assert!(RcptLine::parse(line.to_vec()).is_err());
        }
        Ok(command) => {
            let written = !line.contains(&b'\r') && !line.contains(&b'\n');
            assert!(written, "a command in more than one line: {line:?}");
            read(line, command);
        }
    }
}

/// What stands alone: mailboxes, xtext, base64.
fn texts(octets: &[u8]) {
    if let Ok(mailbox) = Mailbox::parse(octets) {
        let kept = MailboxBuf::parse(octets).expect("a mailbox");
        assert_eq!(kept.as_bytes(), octets);
        assert!(kept.mailbox().same_mailbox(&mailbox));
        assert_eq!(mailbox.is_ascii(), octets.is_ascii());
        let _ = mailbox.local_part().decoded().count();
    }
    let text = XText::encode(octets);
    let back = XText::parse(&text).expect("xtext that was encoded");
    assert!(back.decoded().eq(octets.iter().copied()));
    if let Some(text) = XText::parse(octets) {
        let decoded: Vec<u8> = text.decoded().collect();
        assert!(
            XText::parse(&XText::encode(&decoded)).is_some_and(|again| again.decoded().eq(decoded))
        );
    }
    assert_eq!(
        base64::decode(&base64::encode(octets)).as_deref(),
        Ok(octets)
    );
    if let Ok(decoded) = base64::decode(octets) {
        assert!(base64::is_base64(octets));
        assert_eq!(base64::encode(&decoded), octets);
    }
}

fn written(line: &CommandLine, expected: impl FnOnce(Command<'_>) -> bool) {
    let octets = line.as_bytes();
    assert!(is_one_line(octets), "{octets:?}");
    let again = Command::parse(octets).expect("a line that was written");
    assert!(expected(again), "{octets:?}");
}

fn is_one_line(octets: &[u8]) -> bool {
    !octets
        .iter()
        .any(|octet| matches!(octet, b'\r' | b'\n' | 0))
}

fn read(line: &[u8], command: Command<'_>) {
    match command {
        Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name) => {
            if let Ok(name) = ClientName::parse(name) {
                written(
                    &CommandLine::ehlo(&name),
                    |again| matches!(again, Command::Ehlo(same) if same == name.as_bytes()),
                );
            }
        }
        Command::Bdat(bdat) => {
            written(
                &CommandLine::bdat(bdat),
                |again| matches!(again, Command::Bdat(same) if same == bdat),
            );
            let Bdat { size, last } = bdat;
            assert!(size == 0 || line.iter().any(u8::is_ascii_digit));
            assert!(
                !last
                    || line
                        .to_ascii_uppercase()
                        .windows(4)
                        .any(|word| word == b"LAST")
            );
        }
        Command::Burl(burl) => {
            if let Ok(line) = CommandLine::burl(burl) {
                written(
                    &line,
                    |again| matches!(again, Command::Burl(same) if same == burl),
                );
            }
        }
        Command::Auth(auth) => {
            let initial = match auth.initial {
                None => None,
                Some(b"=") => Some(Vec::new()),
                Some(text) => match base64::decode(text) {
                    Ok(octets) => Some(octets),
                    Err(_) => return,
                },
            };
            if let Ok(line) = CommandLine::auth(auth.mechanism, initial.as_deref()) {
                written(&line, |again| {
                    matches!(again, Command::Auth(same)
                        if same.mechanism.eq_ignore_ascii_case(auth.mechanism)
                        && (same.initial == auth.initial || initial.as_deref() == Some(&[])))
                });
            }
        }
        Command::Rdlv(rdlv) => {
            let line = CommandLine::rdlv(rdlv).expect("a timer that was read");
            written(
                &line,
                |again| matches!(again, Command::Rdlv(same) if same == rdlv),
            );
        }
        Command::Vrfy(argument) => {
            if let Ok(line) = CommandLine::vrfy(argument) {
                written(
                    &line,
                    |again| matches!(again, Command::Vrfy(same) if same == argument),
                );
            }
        }
        Command::Resume(value) => {
            if let Ok(id) = TransId::parse(value) {
                written(
                    &CommandLine::resume(id),
                    |again| matches!(again, Command::Resume(same) if same == value),
                );
            }
        }
        Command::Unknown(unknown) => {
            if let Ok(line) = CommandLine::other(unknown.verb, unknown.argument) {
                written(
                    &line,
                    |again| matches!(again, Command::Unknown(same) if same == unknown),
                );
            }
        }
        Command::Mail(mail) => mail_line(line, &mail),
        Command::Rcpt(rcpt) => rcpt_line(line, &rcpt),
        _ => {}
    }
}

fn mail_line(line: &[u8], mail: &Mail<'_>) {
    assert!(mail.same_transaction(mail));
    let kept = MailLine::parse(line.to_vec()).expect("a MAIL that was read");
    assert_eq!(kept.as_bytes(), line);
    assert!(kept.mail().same_transaction(mail));

    let sized = kept.with_size(Some(42));
    assert_eq!(sized.mail().size, Some(42));
    assert!(MailLine::parse(sized.to_bytes()).is_ok());
    assert_eq!(sized.with_size(None).mail().size, None);
    let id = TransId::parse(b"<42@fuzz.example>").expect("an identifier");
    let named = kept.with_transid(Some(id)).expect("a short identifier");
    assert_eq!(named.mail().transid, Some(id));
    assert!(MailLine::parse(named.to_bytes()).is_ok());
    let unnamed = named.with_transid(None).expect("no identifier");
    assert_eq!(unnamed.mail().transid_value, None);
    assert_eq!(
        unnamed.mail().unknown_parameters().count(),
        mail.unknown_parameters().count()
    );

    // The same once more by the builder.
    let mut builder: MailLineBuilder = MailLine::builder(mail.reverse_path);
    if let Some(size) = mail.size {
        builder = builder.size(size);
    }
    if let Some(body) = mail.body {
        builder = builder.body(body);
    }
    if mail.smtputf8 {
        builder = builder.smtputf8();
    }
    if let Some(ret) = mail.ret {
        builder = builder.ret(ret);
    }
    if let Some(envid) = mail.envid {
        builder = builder.envid(envid.decoded().collect::<Vec<u8>>());
    }
    if let Some(id) = mail.transid {
        builder = builder.transid(id);
    }
    if let Some(offset) = mail.transoff {
        builder = builder.transoff(offset);
    }
    for parameter in mail.unknown_parameters() {
        builder = builder.parameter(parameter.keyword, parameter.value);
    }
    if let Ok(built) = builder.build() {
        assert!(is_one_line(built.as_bytes()));
        let again = built.mail();
        assert!(again.reverse_path.same_reverse_path(&mail.reverse_path));
        assert_eq!(
            (again.size, again.body, again.ret),
            (mail.size, mail.body, mail.ret)
        );
        assert_eq!(
            (again.transid, again.transoff),
            (mail.transid, mail.transoff)
        );
        assert_eq!(again.smtputf8, mail.smtputf8);
        assert!(
            mail.auth.is_some() || again.same_transaction(mail),
            "{:?}",
            built.as_bytes()
        );
    }
    let _ = matches!(mail.body, Some(Body::BinaryMime));
}

fn rcpt_line(line: &[u8], rcpt: &Rcpt<'_>) {
    assert!(rcpt.same_recipient(rcpt));
    let kept = RcptLine::parse(line.to_vec()).expect("an RCPT that was read");
    assert_eq!(kept.as_bytes(), line);
    assert!(kept.rcpt().same_recipient(rcpt));
    let mut builder: RcptLineBuilder = RcptLine::builder(rcpt.forward_path);
    if let Some(notify) = rcpt.notify {
        builder = builder.notify(notify);
    }
    if let Some(orcpt) = rcpt.orcpt {
        let Ok(address) = String::from_utf8(orcpt.address.decoded().collect()) else {
            return;
        };
        builder = builder.orcpt(orcpt.addr_type, address);
    }
    for parameter in rcpt.unknown_parameters() {
        builder = builder.parameter(parameter.keyword, parameter.value);
    }
    if let Ok(built) = builder.build() {
        assert!(is_one_line(built.as_bytes()));
        let again = built.rcpt();
        assert!(again.forward_path.same_forward_path(&rcpt.forward_path));
        assert_eq!(again.notify, rcpt.notify);
    }
}

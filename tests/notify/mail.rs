//! Email over SMTP, with servers as there are.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::notify::channel::email::{Email, EmailOptions};
use upgrade_remediator::notify::channel::{Channel as _, SendError, Taken};

use crate::peers::{Private, Smtp, message, times};

const PASSWORD: &str = "canary-password-7f3a";

fn options(port: u16) -> EmailOptions {
    EmailOptions {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        user: None,
        hello: None,
        ca_pem: None,
        from: "Upgrades <upgrades@example.com>".to_owned(),
        to: vec!["ops@example.com".to_owned(), "night@example.com".to_owned()],
    }
}

async fn send(options: EmailOptions) -> Result<Taken, SendError> {
    Email::new(options).unwrap().send(&message()).await
}

fn nothing_else(_: &str) -> Option<&'static [u8]> {
    None
}

#[tokio::test]
async fn answers_in_gbk_are_judged_by_their_digits() {
    let server = Smtp::start(None, |line| match line {
        "" => Some(b"220-\xbb\xb6\xd3\xad\r\n220 mail.example\r\n"),
        "." => Some(b"250 \xd3\xca\xbc\xfe\xd2\xd1\xb1\xbb\xbd\xd3\xca\xd5\r\n"),
        line if line.starts_with("EHLO") => Some(b"250-mail.example \xbb\xb6\xd3\xad\r\n250 8BITMIME\r\n"),
        line if line.starts_with("RCPT") => Some(b"250 \xca\xd5\xbc\xfe\xc8\xcb\r\n"),
        _ => None,
    })
    .await;
    assert_eq!(send(options(server.port)).await, Ok(Taken::default()));
    assert_eq!(server.lines("Message-ID:").len(), 1, "{:?}", server.heard());
    // What is refused is told by its digits, with what of the text can be read.
    let server =
        Smtp::start(None, |line| (line == ".").then_some(b"552 \xd3\xca\xbc\xfe too long\r\n")).await;
    let error = send(options(server.port)).await.unwrap_err();
    assert!(error.refused && error.detail.starts_with("the message: 552 "), "{error:?}");
    assert!(error.detail.ends_with(" too long"), "{error:?}");
}

#[tokio::test]
async fn a_login_that_is_refused_is_named_and_not_tried_again_for_an_hour() {
    let server = Smtp::start(None, |line| {
        line.starts_with("AUTH").then_some(b"535 \xb5\xc7\xc2\xbc\xca\xa7\xb0\xdc canary-password-7f3a\r\n")
    })
    .await;
    let mut with_user = options(server.port);
    with_user.user = Some(("upgrades".to_owned(), Secret::from(PASSWORD)));
    let error = send(with_user).await.unwrap_err();
    assert!(error.detail.starts_with("the login of upgrades is refused: 535 "), "{error:?}");
    assert!(!error.refused && error.retry_after == Some(Duration::from_hours(1)), "{error:?}");
    assert!(!error.detail.contains("canary"), "{error:?}");
    // Once, although the server offers two ways.
    assert_eq!(server.lines("AUTH ").len(), 1, "{:?}", server.heard());
    assert_eq!(server.lines("MAIL").len(), 0);
    // What passes is tried again soon.
    let server = Smtp::start(None, |line| line.starts_with("AUTH").then_some(b"454 4.7.0 Later\r\n")).await;
    let mut with_user = options(server.port);
    with_user.user = Some(("upgrades".to_owned(), Secret::from(PASSWORD)));
    let error = send(with_user).await.unwrap_err();
    assert_eq!(error, SendError::passing("the login of upgrades: 454 4.7.0 Later"));
}

#[tokio::test]
async fn one_receiver_who_is_refused_takes_the_email_from_nobody_else() {
    for (answer, told) in [
        (
            (|line| line.contains("<ops@").then_some(b"550 5.1.1 No such user here\r\n".as_slice()))
                as fn(&str) -> _,
            "550 5.1.1 No such user here",
        ),
        (
            |line| line.contains("<ops@").then_some(b"452 4.2.2 Mailbox full\r\n".as_slice()),
            "452 4.2.2 Mailbox full",
        ),
    ] {
        let server = Smtp::start(None, answer).await;
        let taken = send(options(server.port)).await.unwrap();
        let refused: Vec<(&str, &str)> =
            taken.refused.iter().map(|(who, why)| (who.as_str(), why.as_str())).collect();
        assert_eq!(refused, [("ops@example.com", told)]);
        assert_eq!(server.lines("RCPT").len(), 2);
        assert_eq!(server.lines("Message-ID:").len(), 1, "{:?}", server.heard());
    }
    // Where nobody is taken nothing is sent, and shorter would not do.
    let server = Smtp::start(None, |line| line.starts_with("RCPT").then_some(b"550 5.1.1 No\r\n")).await;
    let error = send(options(server.port)).await.unwrap_err();
    let told = "no receiver is accepted: ops@example.com: 550 5.1.1 No; night@example.com: 550 5.1.1 No";
    assert_eq!(error, SendError::passing(told));
    assert_eq!(server.lines("DATA").len(), 0);
}

#[tokio::test]
async fn the_server_is_greeted_with_a_whole_name_or_an_address() {
    // As Postfix's reject_non_fqdn_helo_hostname does.
    let picky = |line: &str| {
        let name = line.strip_prefix("EHLO ")?;
        (!name.contains('.')).then_some(b"504 5.5.2 need fully-qualified hostname\r\n".as_slice())
    };
    let server = Smtp::start(None, picky).await;
    send(options(server.port)).await.unwrap();
    let greeted = server.lines("EHLO ").remove(0);
    assert!(!greeted.contains("upgrade-remediator"), "{greeted}");
    let mut named = options(server.port);
    named.hello = Some("logs.example.com".to_owned());
    send(named).await.unwrap();
    assert_eq!(server.lines("EHLO ")[1], "EHLO logs.example.com");
    let mut short = options(server.port);
    short.hello = Some("logs".to_owned());
    let error = send(short).await.unwrap_err();
    assert_eq!(
        error.detail,
        "EHLO logs: 504 5.5.2 need fully-qualified hostname; the key hello gives another name"
    );
}

#[tokio::test]
async fn a_private_ca_is_enough_for_starttls_and_without_encryption_nothing_is_sent() {
    for private in [Private::new(), Private::of_itself()] {
        let server = Smtp::start(Some(&private), nothing_else).await;
        let mut trusting = options(server.port);
        trusting.ca_pem = Some(private.ca_pem.clone());
        trusting.user = Some(("upgrades".to_owned(), Secret::from(PASSWORD)));
        send(trusting).await.unwrap();
        let heard = server.heard();
        let encrypted = heard.iter().position(|line| line == "(encrypted)").unwrap();
        let first = |begin: &str| heard.iter().position(|line| line.starts_with(begin)).unwrap();
        assert!(first("AUTH") > encrypted && first("MAIL") > encrypted, "{heard:?}");
    }
    let server = Smtp::start(Some(&Private::new()), nothing_else).await;
    let mut mistrusting = options(server.port);
    mistrusting.ca_pem = Some(Private::new().ca_pem);
    let error = send(mistrusting).await.unwrap_err();
    assert!(error.detail.starts_with("STARTTLS: 127.0.0.1: "), "{error}");
    assert!(
        error.detail.ends_with("; for a private CA, or a certificate signed by itself, give ca_file"),
        "{error}"
    );
    assert_eq!(times("UnknownIssuer", &error.detail), 1, "{error}");
    assert_eq!(server.lines("MAIL").len(), 0);
    let server = Smtp::start(None, nothing_else).await;
    let mut demanding = options(server.port);
    demanding.ca_pem = Some(Private::new().ca_pem);
    let error = send(demanding).await.unwrap_err();
    assert!(error.detail.contains("offers no STARTTLS"), "{error}");
    assert_eq!(server.lines("MAIL").len(), 0);
}

#[tokio::test]
async fn what_breaks_is_told_once() {
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let error = send(options(nobody.port())).await.unwrap_err();
    assert!(error.detail.starts_with("no connection to 127.0.0.1: 127.0.0.1:"), "{error}");
    assert_eq!(times("refused", &error.detail), 1, "{error}");
    // No SMTP at all.
    let server = Smtp::start(None, |line| line.is_empty().then_some(b"SSH-2.0-OpenSSH_9.2\r\n")).await;
    let error = send(options(server.port)).await.unwrap_err();
    assert_eq!(error.detail, "the greeting: 127.0.0.1 closed the connection, or its response is not SMTP");
}

/// Listens at port 465 of a loopback address that no other process of these tests takes. `None` where that is not allowed,
/// and the test is not required.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was skipped")]
async fn listens_at_465() -> Option<TcpListener> {
    static TAKEN: AtomicU8 = AtomicU8::new(65);
    let process = std::process::id().to_be_bytes();
    let second = TAKEN.fetch_add(1, Ordering::Relaxed);
    let address = Ipv4Addr::new(127, second, process[2], process[3].max(1));
    match TcpListener::bind((address, 465)).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            let why = format!("port 465 of {address} cannot be taken, which root may: {error}");
            let required =
                std::env::var("UPGRADE_REMEDIATOR_SERVICE_TESTS").is_ok_and(|word| word == "required");
            assert!(!required, "{why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[tokio::test]
async fn at_port_465_everything_is_encrypted_from_the_first_byte() {
    let Some(listener) = listens_at_465().await else { return };
    let host = listener.local_addr().unwrap().ip().to_string();
    let private = Private::of(&host);
    let server = Smtp::encrypted(listener, &private, nothing_else);
    let at_465 = |ca: &Private| {
        let user = Some(("upgrades".to_owned(), Secret::from(PASSWORD)));
        EmailOptions { host: host.clone(), user, ca_pem: Some(ca.ca_pem.clone()), ..options(465) }
    };
    assert_eq!(send(at_465(&private)).await, Ok(Taken::default()));
    assert_eq!(server.lines("AUTH ").len(), 1, "{:?}", server.heard());
    assert_eq!(server.lines("RCPT").len(), 2, "{:?}", server.heard());
    assert_eq!(server.lines("Message-ID:").len(), 1, "{:?}", server.heard());
    assert!(server.lines("STARTTLS").is_empty(), "{:?}", server.heard());

    // A certificate of somebody else: nothing is said, and nothing is sent.
    let heard = server.heard().len();
    let error = send(at_465(&Private::new())).await.unwrap_err();
    assert!(error.detail.contains("invalid peer certificate") && !error.refused, "{error:?}");
    let without_ca = EmailOptions { ca_pem: None, ..at_465(&private) };
    let error = send(without_ca).await.unwrap_err();
    assert!(error.detail.contains("give ca_file") && !error.detail.contains("canary"), "{error:?}");
    assert_eq!(server.heard().len(), heard);
}

#[tokio::test]
async fn a_server_without_tls_at_port_465_hears_no_password() {
    let Some(listener) = listens_at_465().await else { return };
    let host = listener.local_addr().unwrap().ip().to_string();
    let server = Smtp::at(listener, None, nothing_else);
    let user = Some(("upgrades".to_owned(), Secret::from(PASSWORD)));
    let error = send(EmailOptions { host, user, ..options(server.port) }).await.unwrap_err();
    assert!(error.detail.contains("TLS") && !error.refused, "{error:?}");
    assert!(
        !server.heard().iter().any(|line| line.contains("AUTH") || line.contains("MAIL")),
        "{:?}",
        server.heard()
    );
}

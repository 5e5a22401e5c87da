//! Hostile or broken peers over TLS: each leads to a bounded error that names the cause, and a PUT
//! that met one of them before anything was written was certainly never sent.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::cloud::answer::chain;
use crate::cloud::error::CloudError;

const HOSTILE_CA: &[u8] = include_bytes!("../testdata/hostile-ca.pem");
const PRIVATE_CA: &[u8] = include_bytes!("../testdata/private-ca.pem");

/// A certificate and its key.
type Identity = (&'static [u8], &'static [u8]);
const GOOD: Identity =
    (include_bytes!("../testdata/loopback.pem"), include_bytes!("../testdata/loopback.key.pem"));
const EXPIRED: Identity =
    (include_bytes!("../testdata/expired.pem"), include_bytes!("../testdata/expired.key.pem"));
const OTHER_NAME: Identity =
    (include_bytes!("../testdata/other-name.pem"), include_bytes!("../testdata/other-name.key.pem"));

type Tls<'a> = rustls::Stream<'a, rustls::ServerConnection, std::net::TcpStream>;

/// Serves TLS with this certificate on one connection after the other, and does this on each.
fn serves(identity: Identity, alpn: &[&[u8]], script: impl Fn(&mut Tls<'_>) + Send + 'static) -> String {
    let certificate = CertificateDer::from_pem_slice(identity.0).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.1).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let config = Arc::new(config);
    raw(move |mut stream| {
        let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        script(&mut rustls::Stream::new(&mut connection, &mut stream));
    })
}

/// Serves bytes.
fn raw(script: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            script(stream);
        }
    });
    base
}

async fn send(base: String, method: Method, ca_pem: &[u8]) -> Result<Response, TransportError> {
    let limit = Duration::from_secs(1);
    let transport = HttpTransport::new(&Endpoint::parse(&base).unwrap(), Some(ca_pem), None, limit).unwrap();
    let request = Request {
        method,
        base,
        path: "/v1.0/p/clusters".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        body_limit: 64 * 1024,
        limits: None,
    };
    // Far longer than any of them may take, and far shorter than for ever.
    tokio::time::timeout(Duration::from_secs(20), transport.send(request)).await.unwrap()
}

#[tokio::test]
async fn a_certificate_that_is_not_good_means_that_nothing_left_and_says_why() {
    for (identity, ca, why) in [
        (EXPIRED, HOSTILE_CA, "expired"),
        (OTHER_NAME, HOSTILE_CA, "not valid for name"),
        (OTHER_NAME, PRIVATE_CA, "UnknownIssuer"),
        (GOOD, HOSTILE_CA, "UnknownIssuer"),
    ] {
        for method in [Method::Get, Method::Put] {
            let base = serves(identity, &[], |tls| drop(tls.write_all(b"HTTP/1.1 200 OK\r\n\r\n")));
            let error = send(base, method, ca).await.unwrap_err();
            let told = chain(&error);
            assert!(matches!(error, TransportError::Connect(_)) && error.never_left(), "{told}");
            assert!(told.contains(why), "{why}: {told}");
        }
    }
}

#[tokio::test]
async fn each_fault_of_tls_has_advice_of_its_own_and_none_to_give_a_ca_file_that_is_given() {
    let of = |certificate, key| {
        serves((certificate, key), &[], |tls| drop(tls.write_all(b"HTTP/1.1 200 OK\r\n\r\n")))
    };
    let says = |bytes: &'static [u8]| {
        raw(move |mut stream| {
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    };
    let itself: Identity =
        (include_bytes!("../testdata/ca-itself.pem"), include_bytes!("../testdata/ca-itself.key.pem"));
    let p521: Identity = (include_bytes!("../testdata/p521.pem"), include_bytes!("../testdata/p521.key.pem"));
    let cn_only: Identity =
        (include_bytes!("../testdata/cn-only.pem"), include_bytes!("../testdata/cn-only.key.pem"));
    let (p521_ca, cn_ca) =
        (include_bytes!("../testdata/p521-ca.pem"), include_bytes!("../testdata/cn-ca.pem"));
    let mut told = std::collections::BTreeSet::new();
    for (base, ca, advice) in [
        (of(itself.0, itself.1), itself.0, "is itself a CA"),
        (of(p521.0, p521.1), p521_ca, "cannot be checked"),
        (of(cn_only.0, cn_only.1), cn_ca, "in its CN, which does not count"),
        (of(OTHER_NAME.0, OTHER_NAME.1), HOSTILE_CA, "is for other names"),
        (of(EXPIRED.0, EXPIRED.1), HOSTILE_CA, "has expired"),
        (of(GOOD.0, GOOD.1), HOSTILE_CA, "issued the certificate"),
        // The alert of a server without a common suite, or with a key of P-521 alone: handshake_failure.
        (says(&[21, 3, 3, 0, 2, 2, 40]), HOSTILE_CA, "no cipher suite in common"),
        (says(&[21, 3, 3, 0, 2, 2, 70]), HOSTILE_CA, "TLS version is too old"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), HOSTILE_CA, "does not speak TLS"),
    ] {
        let error = CloudError::from_transport(send(base, Method::Get, ca).await.unwrap_err(), None);
        let found = error.tls_advice(Some(true)).unwrap_or_else(|| panic!("{advice}: {error:?}"));
        assert!(found.contains(advice) && !found.contains("set ca_file"), "{advice}: {found} ({error:?})");
        // The daemon's text, also for a key that cannot be fetched.
        assert!(error.trouble().0 == "unreachable" && error.trouble().1.contains(advice));
        let error = CloudError::SignIn(Arc::new(error));
        assert!(error.trouble().0 == "sign-in" && error.trouble().1.contains(advice));
        assert!(told.insert(found), "the same advice twice");
    }
    // Without a ca_file it is the thing to give.
    let error = send(of(GOOD.0, GOOD.1), Method::Get, HOSTILE_CA).await.unwrap_err();
    let error = CloudError::from_transport(error, None);
    assert!(error.tls_advice(Some(false)).unwrap().contains("set ca_file"));
    // An error outside TLS has the usual advice.
    let error = send("https://127.0.0.1:1".to_owned(), Method::Get, HOSTILE_CA).await.unwrap_err();
    let error = CloudError::from_transport(error, None);
    assert!(error.tls_advice(None).is_none() && error.trouble().1.contains("the name service"), "{error:?}");
}

#[tokio::test]
async fn an_old_protocol_and_what_is_no_tls_at_all_mean_that_nothing_left() {
    // A ServerHello of TLS 1.0, and one of TLS 1.1.
    let hello = |minor: u8| {
        let mut body = vec![3, minor];
        body.extend([7; 32]);
        body.extend([0, 0xc0, 0x13, 0]);
        let mut handshake = vec![2, 0, 0, u8::try_from(body.len()).unwrap()];
        handshake.extend(body);
        let mut record = vec![22, 3, minor, 0, u8::try_from(handshake.len()).unwrap()];
        record.extend(handshake);
        record
    };
    let plain = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec();
    for bytes in [hello(1), hello(2), plain, Vec::new()] {
        for method in [Method::Get, Method::Put] {
            let bytes = bytes.clone();
            let base = raw(move |mut stream| {
                let mut hello = [0; 512];
                let _ = stream.read(&mut hello);
                let _ = stream.write_all(&bytes);
            });
            let error = send(base, method, HOSTILE_CA).await.unwrap_err();
            assert!(matches!(error, TransportError::Connect(_)) && error.never_left(), "{error:?}");
        }
    }
    // It accepts, and never answers.
    let base = raw(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let error = send(base, Method::Put, HOSTILE_CA).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect(_) | TransportError::Timeout(_)), "{error:?}");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200`, from the static table.
const OK: &[u8] = &[0x88];

/// Over HTTP/2: writes the opening, then these bytes until the client stops reading.
fn floods(first: Vec<u8>, then: Vec<u8>) -> String {
    serves(GOOD, &[b"h2"], move |tls| {
        let mut preface = [0; 24];
        if tls.read_exact(&mut preface).is_err() || tls.write_all(&frame(SETTINGS, 0, 0, &[])).is_err() {
            return;
        }
        if tls.write_all(&first).is_err() {
            return;
        }
        // For longer than any client may wait.
        for _ in 0..2_000_000 {
            if then.is_empty() || tls.write_all(&then).is_err() {
                return;
            }
        }
    })
}

#[tokio::test]
async fn a_flood_over_http_2_ends_in_an_error() {
    let head = || frame(HEADERS, END_HEADERS, 1, OK);
    // A literal header of some length, again and again.
    let mut literal = vec![0, 1, b'a', 127, 0];
    literal.extend([b'x'; 127]);
    for (what, first, then) in [
        ("settings", Vec::new(), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("pings", Vec::new(), frame(PING, 0, 0, &[0; 8])),
        ("headers without an end", frame(HEADERS, 0, 1, OK), frame(CONTINUATION, 0, 1, &literal)),
        ("empty headers without an end", frame(HEADERS, 0, 1, OK), frame(CONTINUATION, 0, 1, &[])),
        ("empty data without an end", head(), frame(DATA, 0, 1, &[])),
        ("data without an end", head(), frame(DATA, 0, 1, &[b'x'; 8192])),
        ("a reset", frame(RST_STREAM, 0, 1, &[0, 0, 0, 2]), Vec::new()),
        ("a farewell", frame(GOAWAY, 0, 0, &[0; 8]), Vec::new()),
        ("frames of nobody", Vec::new(), frame(DATA, 0, 99, b"x")),
        ("no frames at all", vec![255; 64], Vec::new()),
        ("a head that is cut off", frame(HEADERS, END_STREAM, 1, OK), Vec::new()),
    ] {
        let ended = match send(floods(first, then), Method::Get, PRIVATE_CA).await {
            Err(error) => error,
            Ok(response) => match response.body {
                Err(error) => error,
                Ok(body) => panic!("{what} was taken for an answer of {} bytes", body.len()),
            },
        };
        let is_named = matches!(
            ended,
            TransportError::Timeout(_) | TransportError::Broken(_) | TransportError::TooLong { .. }
        );
        assert!(is_named, "{what}: {ended:?}");
    }
}

#[tokio::test]
async fn a_put_does_not_speak_http_2() {
    let base = serves(GOOD, &[b"h2"], |tls| drop(tls.write_all(&frame(SETTINGS, 0, 0, &[]))));
    let error = send(base, Method::Put, PRIVATE_CA).await.unwrap_err();
    assert!(error.never_left(), "{error:?}");
}

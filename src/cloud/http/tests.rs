use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::SystemClock;
use crate::cloud::error::CloudError;
use crate::model::proxy::Login;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: r-1\r\n\r\n{}";
const CA: &[u8] = include_bytes!("../testdata/private-ca.pem");

/// What the server does once it has read the head of a request.
#[derive(Clone, Copy)]
enum Step {
    /// Writes this and waits for the next request.
    Write(&'static str),
    /// Writes this and closes the connection.
    WriteAndClose(&'static str),
    /// Continues to write a body until the client stops reading.
    Endless,
    /// Answers nothing and keeps the connection.
    Silence,
}

/// A server on loopback by script: one list of steps for each connection, in the order of their coming.
struct Server {
    base: String,
    /// The heads of the requests, with the number of the connection that they came over.
    heads: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    async fn new(connections: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let server = Self { base, heads: Arc::clone(&heads) };
        tokio::spawn(async move {
            for (number, steps) in connections.into_iter().enumerate() {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, steps, number, Arc::clone(&heads)));
            }
        });
        server
    }

    fn transport(&self, timeout: Duration) -> HttpTransport {
        HttpTransport::new(&Endpoint::parse(&self.base).unwrap(), None, None, timeout).unwrap()
    }

    fn request(&self, method: Method) -> Request {
        Request {
            method,
            base: self.base.clone(),
            path: "/v1.0/p/clusters".to_owned(),
            query: "limit=1000".to_owned(),
            headers: vec![
                ("host", "signed.example".to_owned()),
                ("x-sdk-date", "20260102T030405Z".to_owned()),
            ],
            body: Vec::new(),
            body_limit: 1024,
            limits: None,
        }
    }

    fn heads(&self) -> Vec<(usize, String)> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    steps: Vec<Step>,
    number: usize,
    heads: Arc<Mutex<Vec<(usize, String)>>>,
) {
    for step in steps {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        heads.lock().unwrap().push((number, String::from_utf8(head).unwrap()));
        match step {
            Step::Write(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Step::WriteAndClose(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Step::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
                while stream.write_all(b"5\r\nxxxxx\r\n").await.is_ok() {}
                return;
            }
            Step::Silence => std::future::pending().await,
        }
    }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_request_goes_out_as_it_was_signed() {
    let server = Server::new(vec![vec![Step::Write(OK)], vec![Step::Write(OK)]]).await;
    let transport = server.transport(LONG);
    let response = transport.send(server.request(Method::Get)).await.unwrap();
    assert_eq!((response.status, response.header("X-Request-Id")), (200, Some("r-1")));
    assert_eq!(response.body.unwrap(), b"{}");
    let mut put = server.request(Method::Put);
    put.headers.push(("content-length", "0".to_owned()));
    transport.send(put).await.unwrap();
    let heads = server.heads();
    assert!(heads[0].1.starts_with("GET /v1.0/p/clusters?limit=1000 HTTP/1.1\r\n"), "{}", heads[0].1);
    let host = server.base.strip_prefix("http://").unwrap();
    for (_, head) in &heads {
        assert_eq!(head.matches(&format!("host: {host}\r\n")).count(), 1, "{head}");
        assert!(head.contains("x-sdk-date: 20260102T030405Z\r\n"), "{head}");
        assert_eq!(head.matches("accept-encoding: identity\r\n").count(), 1, "{head}");
        for never in ["gzip", "signed.example", "transfer-encoding", "referer", "cookie"] {
            assert!(!head.contains(never), "{head}");
        }
    }
    assert!(heads[1].1.starts_with("PUT ") && heads[1].1.contains("content-length: 0\r\n"), "{}", heads[1].1);
}

#[tokio::test]
async fn the_host_that_is_signed_is_the_host_that_is_sent() {
    let server = Server::new(vec![vec![Step::Write(OK)]]).await;
    let endpoint = Endpoint::parse(&server.base).unwrap();
    let project = crate::model::id::ProjectId::new("p").unwrap();
    let site = crate::cloud::request::Site { endpoint: &endpoint, project: &project };
    let call = crate::cloud::request::Call::Clusters { start: None };
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let request = call.render(site, &crate::cloud::testing::key().into(), now);
    let signed = format!("host: {}\r\n", request.header("host").unwrap());
    server.transport(LONG).send(request).await.unwrap();
    assert!(server.heads()[0].1.contains(&signed));
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_head_may_have_brought_the_request() {
    let server =
        Server::new(vec![vec![Step::WriteAndClose("")], vec![Step::WriteAndClose("HTTP/1.1 2")]]).await;
    let transport = server.transport(LONG);
    for _ in 0..2 {
        let error = transport.send(server.request(Method::Put)).await.unwrap_err();
        assert!(matches!(error, TransportError::Broken(_)) && !error.never_left(), "{error:?}");
    }
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_head_gives_the_status_and_no_body() {
    let cut = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 100\r\n\r\n{\"err";
    let server = Server::new(vec![vec![Step::WriteAndClose(cut)]]).await;
    let response = server.transport(LONG).send(server.request(Method::Get)).await.unwrap();
    assert_eq!(response.status, 401);
    assert!(matches!(response.body, Err(TransportError::Broken(_))));
}

#[tokio::test]
async fn a_body_that_is_encoded_though_nobody_asked_for_it_is_named_and_not_read() {
    for (coding, wanted) in
        [("gzip", Some("gzip")), ("identity, br", Some("identity, br")), ("Identity", None)]
    {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 2\r\n\r\n{{}}");
        let server = Server::new(vec![vec![Step::Write(Box::leak(answer.into_boxed_str()))]]).await;
        let body = server.transport(LONG).send(server.request(Method::Get)).await.unwrap().body;
        match (body, wanted) {
            (Ok(body), None) => assert_eq!(body, b"{}"),
            (Err(TransportError::Encoded { coding }), Some(wanted)) => assert_eq!(coding, wanted),
            (body, _) => panic!("{coding}: {body:?}"),
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_left_at_the_limit() {
    let server = Server::new(vec![vec![Step::Endless]]).await;
    let response = server.transport(LONG).send(server.request(Method::Get)).await.unwrap();
    assert!(matches!(response.body, Err(TransportError::TooLong { limit: 1024 })));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let found = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let server = Server::new(vec![vec![Step::Write(found), Step::Write(OK)], vec![Step::Write(found)]]).await;
    let transport = server.transport(LONG);
    for method in [Method::Get, Method::Put] {
        assert_eq!(transport.send(server.request(method)).await.unwrap().status, 302);
    }
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn a_head_or_a_body_that_does_not_come_in_time_is_a_timeout() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{";
    let server = Server::new(vec![vec![Step::Silence], vec![Step::Write(begun), Step::Silence]]).await;
    let transport = server.transport(Duration::from_millis(150));
    let error = transport.send(server.request(Method::Get)).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout(_)) && !error.never_left(), "{error:?}");
    let response = transport.send(server.request(Method::Get)).await.unwrap();
    assert!(matches!(response.body, Err(TransportError::Timeout(_))), "{:?}", response.body);
}

#[tokio::test]
async fn without_a_connection_the_request_never_left_and_the_error_does_not_show_the_url() {
    let server = Server::new(Vec::new()).await;
    let transport = server.transport(LONG);
    // The listener ends with its task, which had no connection to wait for.
    let error = loop {
        match transport.send(server.request(Method::Put)).await {
            Err(error @ TransportError::Connect(_)) => break error,
            Err(TransportError::Broken(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(error.never_left());
    assert!(!format!("{error:?}").contains("limit=1000"), "{error:?}");
}

#[tokio::test]
async fn a_put_goes_out_once_on_a_connection_of_its_own_when_pooled_ones_are_closed() {
    // The first connection is kept open for further requests, and closed as soon as it gets one.
    let kept = vec![Step::Write(OK), Step::WriteAndClose("")];
    let broken = vec![Step::WriteAndClose("")];
    let server = Server::new(vec![kept, broken, vec![Step::Write(OK); 3], vec![Step::Write(OK); 3]]).await;
    let transport = server.transport(LONG);
    transport.send(server.request(Method::Get)).await.unwrap().body.unwrap();
    let error = transport.send(server.request(Method::Put)).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken(_)), "{error:?}");
    for _ in 0..2 {
        transport.send(server.request(Method::Put)).await.unwrap().body.unwrap();
    }
    let puts: Vec<usize> = server
        .heads()
        .iter()
        .filter(|(_, head)| head.starts_with("PUT"))
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(puts, [1, 2, 3]);
}

#[tokio::test]
async fn readings_share_a_connection() {
    let server = Server::new(vec![vec![Step::Write(OK); 3]]).await;
    let transport = server.transport(LONG);
    for _ in 0..3 {
        transport.send(server.request(Method::Get)).await.unwrap().body.unwrap();
    }
    assert_eq!(server.heads().len(), 3);
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_means_that_the_request_never_left() {
    let server = Server::new(vec![vec![Step::Write(OK)]]).await;
    let mut request = server.request(Method::Put);
    request.headers.push(("authorization", "a\r\nb: c".to_owned()));
    let error = server.transport(LONG).send(request).await.unwrap_err();
    assert!(matches!(error, TransportError::Invalid(_)) && error.never_left());
}

/// An HTTPS server whose certificate is of the private CA; it answers one request and returns its endpoint.
fn https_server() -> String {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../testdata/loopback.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../testdata/loopback.key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if tls.read_exact(&mut byte).is_err() {
                return;
            }
            head.extend(byte);
        }
        tls.write_all(OK.as_bytes()).unwrap();
    });
    endpoint
}

async fn over_https(ca_pem: Option<&[u8]>) -> Result<Response, TransportError> {
    let base = https_server();
    let transport = HttpTransport::new(&Endpoint::parse(&base).unwrap(), ca_pem, None, LONG).unwrap();
    let request = Request {
        method: Method::Put,
        base,
        path: "/".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        body_limit: 1024,
        limits: None,
    };
    transport.send(request).await
}

#[tokio::test]
async fn a_private_ca_is_trusted_where_it_is_given_and_nowhere_else() {
    assert_eq!(over_https(Some(CA)).await.unwrap().status, 200);
    // Another CA beside the system's does not help; so the test needs none of the system's.
    let other = include_bytes!("../testdata/loopback.pem");
    let error = over_https(Some(other)).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)) && error.never_left(), "{error:?}");
}

#[tokio::test]
async fn what_is_no_certificate_is_told() {
    let endpoint = Endpoint::parse("https://css.example.com").unwrap();
    let build = |pem: &[u8]| HttpTransport::new(&endpoint, Some(pem), None, LONG).unwrap_err();
    assert!(matches!(build(b"no certificate"), BuildError::CaEmpty));
    assert!(matches!(build(b""), BuildError::CaEmpty));
    let header = "-----BEGIN CERTIFICATE-----\n";
    assert!(matches!(
        build(format!("{header}!!!!\n-----END CERTIFICATE-----\n").as_bytes()),
        BuildError::CaFormat(_)
    ));
    assert!(matches!(
        build(format!("{header}AAAA\n-----END CERTIFICATE-----\n").as_bytes()),
        BuildError::Http(_)
    ));
}

/// A proxy as connections share it.
fn shared(proxy: &Proxy) -> Arc<ProxyCircuit> {
    ProxyCircuit::new(proxy.clone(), Arc::new(SystemClock::new()))
}

/// A proxy without a user.
fn open(url: &str) -> Proxy {
    Proxy { url: url.to_owned(), login: None }
}

#[tokio::test]
async fn a_407_of_the_proxy_is_told_as_such_and_proves_that_nothing_left() {
    const NO: &str = "HTTP/1.1 407 No\r\nproxy-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let login = Login { user: "robot".to_owned(), password: "hunter2".into() };
    for (login, told, todo) in [
        (None, "asks for a user and password", "give proxy_user"),
        (Some(login), "refused the user", "check proxy_user"),
    ] {
        for (endpoint, line) in [
            ("https://css.example.com", "CONNECT css.example.com:443 HTTP/1.1\r\n"),
            ("http://127.0.0.1:1", "PUT http://127.0.0.1:1/v1.0/p/clusters?limit=1000 HTTP/1.1\r\n"),
        ] {
            let server = Server::new(vec![vec![Step::WriteAndClose(NO)]]).await;
            let proxy = Proxy { login: login.clone(), ..open(&server.base) };
            let transport =
                HttpTransport::new(&Endpoint::parse(endpoint).unwrap(), None, Some(&shared(&proxy)), LONG)
                    .unwrap();
            let request = Request { base: endpoint.to_owned(), ..server.request(Method::Put) };
            let error = transport.send(request).await.unwrap_err();
            assert!(error.never_left() && error.to_string().contains(told), "{endpoint}: {error:?}");
            let shown = format!("{error} {error:?} {transport:?} {proxy:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("cm9ib3Q"), "{shown}");
            let error = CloudError::from_transport(error, None);
            assert!(error.code() == "proxy" && error.trouble().1.contains(todo), "{error:?}");
            assert!(!error.is_passing(), "asked again soon and often, it would lock the user");
            let heads = server.heads();
            assert!(heads.len() == 1 && heads[0].1.starts_with(line), "{heads:?}");
            // robot:hunter2
            let given = heads[0]
                .1
                .to_ascii_lowercase()
                .contains("proxy-authorization: basic cm9ib3q6ahvudgvymg==\r\n");
            assert_eq!(given, login.is_some(), "{heads:?}");
        }
    }
}

#[tokio::test]
async fn a_407_where_no_proxy_is_named_is_an_answer() {
    const NO: &str = "HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n";
    let server = Server::new(vec![vec![Step::Write(NO)]]).await;
    let answer = server.transport(LONG).send(server.request(Method::Put)).await.unwrap();
    assert_eq!(answer.status, 407);
}

#[tokio::test]
async fn a_proxy_that_the_configuration_names_is_used_and_a_missing_one_proves_that_nothing_left() {
    let proxy = Server::new(vec![vec![Step::Write(OK)], vec![Step::Write(OK)]]).await;
    let service = Server::new(vec![]).await;
    let endpoint = Endpoint::parse(&service.base).unwrap();
    let through =
        |proxy: &str| HttpTransport::new(&endpoint, None, Some(&shared(&open(proxy))), LONG).unwrap();
    for method in [Method::Get, Method::Put] {
        let answer = through(&proxy.base).send(service.request(method)).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let heads = proxy.heads();
    let asked = format!("GET {}/v1.0/p/clusters?limit=1000", service.base);
    assert!(heads.len() == 2 && heads[0].1.starts_with(&asked), "{heads:?}");
    assert!(service.heads().is_empty());

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = through(&format!("http://{nobody}")).send(service.request(Method::Put)).await.unwrap_err();
    assert!(error.never_left(), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_opens_no_tunnel_proves_that_nothing_left() {
    const NO: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
    let proxy = Server::new(vec![vec![Step::Write(NO)]]).await;
    let endpoint = Endpoint::parse("https://css.example.com").unwrap();
    let transport = HttpTransport::new(&endpoint, None, Some(&shared(&open(&proxy.base))), LONG).unwrap();
    let request = Request { base: "https://css.example.com".to_owned(), ..proxy.request(Method::Put) };
    let error = transport.send(request).await.unwrap_err();
    assert!(error.never_left(), "{error:?}");
    let heads = proxy.heads();
    assert!(heads.len() == 1 && heads[0].1.starts_with("CONNECT css.example.com:443"), "{heads:?}");
}

#[test]
fn a_body_is_the_same_in_whatever_parts_it_comes() {
    let whole: Vec<u8> = (0..3 * SHORT + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for size in [1, 1_000, SHORT, whole.len()] {
        let mut blocks = Blocks(vec![Vec::new()]);
        whole.chunks(size).for_each(|part| blocks.append(part));
        assert!(blocks.0.iter().all(|block| block.len() <= SHORT));
        assert!(blocks.joined(whole.len()) == whole, "in parts of {size}");
    }
    assert!(Blocks(vec![Vec::new()]).joined(0).is_empty());
}

/// Limits that allow a request the first `asked` times.
fn may_begin(asked: usize, at_most: Duration) -> SendingLimits {
    let left = std::sync::atomic::AtomicUsize::new(asked);
    let take = move || {
        let order = std::sync::atomic::Ordering::SeqCst;
        left.fetch_update(order, order, |left| left.checked_sub(1)).is_ok()
    };
    SendingLimits { may_begin: Arc::new(take), at_most }
}

/// The time is checked again when the connection stands: a process may have been paused while it
/// was made.
#[tokio::test]
async fn a_request_that_is_too_late_when_its_connection_stands_leaves_no_byte() {
    let server = Server::new(vec![vec![Step::Write(OK)], vec![Step::Write(OK)]]).await;
    let transport = server.transport(LONG);
    for asked in [0, 1] {
        let late = Request { limits: Some(may_begin(asked, LONG)), ..server.request(Method::Put) };
        let error = transport.send(late).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLate(_)) && error.never_left(), "{error:?}");
    }
    assert_eq!(server.heads(), []);
    let in_time = Request { limits: Some(may_begin(2, LONG)), ..server.request(Method::Put) };
    assert_eq!(transport.send(in_time).await.unwrap().status, 200);
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn the_answer_to_a_request_is_not_waited_for_beyond_its_limit() {
    let server = Server::new(vec![vec![Step::Silence]]).await;
    let limits = Some(may_begin(2, Duration::from_millis(50)));
    let request = Request { limits, ..server.request(Method::Put) };
    let error = server.transport(LONG).send(request).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout(_)) && !error.never_left(), "{error:?}");
    assert_eq!(server.heads().len(), 1);
}

//! Servers that messages go to: one of HTTP and one of SMTP, each with or without a certificate of a private CA.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use upgrade_remediator::notify::kind::Kind;
use upgrade_remediator::notify::message::Message;
use upgrade_remediator::notify::notice;

/// So many CAs were made: each has a name of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A CA that no system trusts, and a certificate of it for this machine.
#[derive(Clone)]
pub(crate) struct Private {
    pub(crate) ca_pem: Vec<u8>,
    pub(crate) acceptor: TlsAcceptor,
}

impl Private {
    pub(crate) fn new() -> Self {
        Self::of("localhost")
    }

    /// The same with a certificate for this name, or address, too.
    pub(crate) fn of(host: &str) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(DnType::CommonName, format!("CA {}", MADE.fetch_add(1, Ordering::Relaxed)));
        let ca_key = KeyPair::generate().unwrap();
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem().into_bytes();
        let key = KeyPair::generate().unwrap();
        let names = [
            host,
            "127.0.0.1",
            "css.proxied.invalid",
            "iam.proxied.invalid",
            "sts.proxied.invalid",
            "chat.proxied.invalid",
        ];
        let names = names.map(str::to_owned).to_vec();
        let of_the_server =
            CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        Self { ca_pem, acceptor: acceptor(&of_the_server.pem(), &key.serialize_pem()) }
    }

    /// A certificate that signs itself, and is no CA: what a mail server makes for itself when it is installed.
    pub(crate) fn of_itself() -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        Self { ca_pem: own.pem().into_bytes(), acceptor: acceptor(&own.pem(), &key.serialize_pem()) }
    }
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A server of HTTP with one answer to everything.
pub(crate) struct Http {
    pub(crate) port: u16,
    got: Arc<Mutex<Vec<String>>>,
}

impl Http {
    /// It answers with this status, these headers (each with its end of line) and this body.
    pub(crate) async fn start(private: Option<&Private>, status: u16, headers: &str, body: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let got: Arc<Mutex<Vec<String>>> = Arc::default();
        let (kept, acceptor) = (Arc::clone(&got), private.map(|private| private.acceptor.clone()));
        let answer = format!(
            "HTTP/1.1 {status} As it is\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &acceptor {
                    None => exchange(stream, &answer, &kept).await,
                    // Whoever does not trust the certificate ends the connection.
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            exchange(stream, &answer, &kept).await;
                        }
                    }
                }
            }
        });
        Self { port, got }
    }

    /// The first lines of the requests that came.
    pub(crate) fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, got: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if first.is_empty() {
            line.trim_end().clone_into(&mut first);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    let _ = stream.read_exact(&mut body).await;
    got.lock().unwrap().push(first);
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.flush().await;
}

/// What an SMTP server has heard: its lines, with a mark where the connection was encrypted.
pub(crate) type Heard = Arc<Mutex<Vec<String>>>;

/// A server of SMTP.
pub(crate) struct Smtp {
    pub(crate) port: u16,
    heard: Heard,
}

/// The answer to a line, where it is another one than the usual.
type Answer = fn(&str) -> Option<&'static [u8]>;

impl Smtp {
    /// It offers STARTTLS where it has a certificate.
    pub(crate) async fn start(private: Option<&Private>, answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::at(listener, private, answer)
    }

    /// The same, encrypted from the first byte.
    pub(crate) fn encrypted(listener: TcpListener, private: &Private, answer: Answer) -> Self {
        let port = listener.local_addr().unwrap().port();
        let heard = Heard::default();
        let (kept, acceptor) = (Arc::clone(&heard), private.acceptor.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever does not trust the certificate ends the connection.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                if stream.write_all(b"220 mail.example ESMTP\r\n").await.is_ok() {
                    converse(&mut stream, false, answer, &kept).await;
                }
            }
        });
        Self { port, heard }
    }

    /// It offers STARTTLS there where it has a certificate.
    pub(crate) fn at(listener: TcpListener, private: Option<&Private>, answer: Answer) -> Self {
        let port = listener.local_addr().unwrap().port();
        let heard = Heard::default();
        let (kept, acceptor) = (Arc::clone(&heard), private.map(|private| private.acceptor.clone()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, acceptor.as_ref(), answer, &kept).await;
            }
        });
        Self { port, heard }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// The lines that begin so.
    pub(crate) fn lines(&self, begin: &str) -> Vec<String> {
        self.heard().into_iter().filter(|line| line.starts_with(begin)).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    acceptor: Option<&TlsAcceptor>,
    answer: Answer,
    heard: &Mutex<Vec<String>>,
) {
    let greeting = answer("").unwrap_or(b"220 mail.example ESMTP\r\n");
    if stream.write_all(greeting).await.is_err() {
        return;
    }
    let starts_tls = converse(&mut stream, acceptor.is_some(), answer, heard).await;
    if let (true, Some(acceptor)) = (starts_tls, acceptor)
        && let Ok(mut stream) = acceptor.accept(stream).await
    {
        heard.lock().unwrap().push("(encrypted)".to_owned());
        converse(&mut stream, false, answer, heard).await;
    }
}

/// Answers line by line. `true`: TLS begins now.
async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    offers_tls: bool,
    answer: Answer,
    heard: &Mutex<Vec<String>>,
) -> bool {
    let mut stream = BufReader::new(stream);
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        let line = line.trim_end();
        heard.lock().unwrap().push(line.to_owned());
        let usual: &[u8] = match line {
            "." => {
                in_data = false;
                b"250 2.0.0 Ok: queued\r\n"
            }
            _ if in_data => continue,
            "DATA" => {
                in_data = true;
                b"354 Go on\r\n"
            }
            "STARTTLS" if offers_tls => b"220 Go on\r\n",
            "QUIT" => b"221 Bye\r\n",
            line if line.starts_with("AUTH ") => b"235 2.7.0 Welcome\r\n",
            line if line.starts_with("EHLO ") && offers_tls => {
                b"250-mail.example\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"
            }
            line if line.starts_with("EHLO ") => {
                b"250-mail.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"
            }
            _ => b"250 2.1.0 Ok\r\n",
        };
        let reply = answer(line).unwrap_or(usual);
        if stream.write_all(reply).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
        if line == "STARTTLS" && offers_tls {
            return true;
        }
    }
}

/// A message of one notice.
pub(crate) fn message() -> Message {
    let at = "2026-06-01T12:00:00Z".parse().unwrap();
    let told = notice::of_project(Kind::Test, at, "prod", "this is a test".to_owned(), None);
    Message::of_one("6d1f0a52c1e54b1fb1a9f6a4d7c2e830".to_owned(), told)
}

/// How often a text stands in another one.
pub(crate) fn times(part: &str, text: &str) -> usize {
    text.matches(part).count()
}

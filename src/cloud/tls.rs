//! What to do about a failed TLS connection: each cause has its own advice.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// The abilities of this program, for servers that lack them.
const TAKEN: &str = "this program accepts TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20, and keys that are RSA with 2048 bits \
                     or more, P-256, P-384 or Ed25519";

/// Returns what to do, if TLS is the cause. `ca_file`: whether one is configured, if known.
pub(super) fn advice(error: &(dyn Error + 'static), ca_file: Option<bool>) -> Option<String> {
    match tls_error(error)? {
        TlsError::InvalidCertificate(fault) => Some(of_the_certificate(fault, ca_file)),
        TlsError::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) => Some(format!(
            "the server refused the handshake: it has no cipher suite in common with this program, or a key (such as P-521) \
                 that this program does not accept; {TAKEN}"
        )),
        TlsError::AlertReceived(AlertDescription::ProtocolVersion) | TlsError::PeerIncompatible(_) => {
            Some(format!("the server's TLS version is too old, or none of its cipher suites fits; {TAKEN}"))
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            Some("the server wants a client certificate, which this program does not have".to_owned())
        }
        TlsError::InvalidMessage(_) => Some(
            "the server does not speak TLS: check the port, and that no plain HTTP server listens there"
                .to_owned(),
        ),
        _ => None,
    }
}

fn of_the_certificate(fault: &CertificateError, ca_file: Option<bool>) -> String {
    let text = match fault {
        CertificateError::UnknownIssuer => match ca_file {
            Some(false) => {
                "no CA that this system trusts issued the certificate: for a private CA set ca_file"
            }
            Some(true) => {
                "neither a CA in ca_file nor one that this system trusts issued the certificate: ca_file must hold the CA that \
                 signed it, and the server must send the certificates between them"
            }
            None => {
                "no trusted CA issued the certificate: for a private CA set ca_file; where ca_file is set, it must hold the CA \
                 that signed the certificate"
            }
        },
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the certificate names no host but, perhaps, in its CN, which does not count: issue one with a subjectAltName \
             (DNS:… or IP:…)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for other names: use one of them as the endpoint, or issue one with this name in its \
             subjectAltName"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired: renew it; or this machine's clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet: set this machine's clock"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not one of a server: issue one with extendedKeyUsage serverAuth"
        }
        // Its own variants for these are no longer made, but the type still has them.
        fault if is_unsupported(fault) => {
            return format!(
                "a key or a signature in the certificate, or in that of its CA, is of a kind (such as P-521) that cannot be \
                 checked: issue them with another one; {TAKEN}"
            );
        }
        // An error of the library beneath, of which only the text is available here.
        CertificateError::Other(other) => match format!("{other:?}") {
            words if words.contains("CaUsedAsEndEntity") => {
                "the server's certificate is itself a CA (as `openssl req -x509` makes one), and is never accepted as a \
                 server's, not even if ca_file holds it: issue one with basicConstraints=CA:FALSE"
            }
            words if words.contains("UnsupportedCertVersion") => {
                "the certificate is of X.509 version 1: issue one of version 3, with a subjectAltName"
            }
            _ => "the certificate cannot be used; it is always checked",
        },
        _ => "the certificate cannot be used; it is always checked",
    };
    text.to_owned()
}

#[expect(deprecated, reason = "what a library of another version gives is understood too")]
fn is_unsupported(fault: &CertificateError) -> bool {
    matches!(
        fault,
        CertificateError::UnsupportedSignatureAlgorithm
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    )
}

/// Returns the TLS error among the causes. An error of the system hides its inner error from the
/// chain of causes.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

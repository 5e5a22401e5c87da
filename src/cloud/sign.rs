//! SDK-HMAC-SHA256, the signature of requests with an access key and a secret key. Pure: it takes what is to be
//! signed, the date included, and gives texts. It never reads a clock and never logs what it signs.
//!
//! There is no derivation by region, service or day: the secret key is the key of the HMAC itself. Source: the
//! API signing guide (devg-apisign) and the official Python SDK, whose output the test vectors are.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::model::secret::{ExposeSecret, Secret};

const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// The header that carries the date; every signature covers it.
pub const DATE_HEADER: &str = "x-sdk-date";
/// A request that bears this header has its body's hash in it, or a word that says the body is not signed.
const CONTENT_HASH_HEADER: &str = "x-sdk-content-sha256";

/// What a signature covers.
#[derive(Clone, Copy)]
pub struct Signable<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// The path before escaping.
    pub path: &'a str,
    /// The query's pairs before escaping, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// The headers to be signed, in any order and case, without the date's.
    pub headers: &'a [(&'a str, &'a str)],
    /// The value of the `X-Sdk-Date` header, as [`date`] writes it.
    pub date: &'a str,
    /// The body's bytes.
    pub body: &'a [u8],
}

impl Signable<'_> {
    /// The value of the `Authorization` header.
    pub fn authorization(&self, access_key: &Secret, secret_key: &Secret) -> String {
        let signature = hmac_hex(secret_key, &self.string_to_sign());
        let signed = self.signed_headers();
        let access_key = access_key.expose_secret();
        format!("{ALGORITHM} Access={access_key}, SignedHeaders={signed}, Signature={signature}")
    }

    fn string_to_sign(&self) -> String {
        format!("{ALGORITHM}\n{}\n{}", self.date, sha256_hex(self.canonical_request().as_bytes()))
    }

    fn canonical_request(&self) -> String {
        let headers = self.sorted_headers();
        let hash = headers
            .iter()
            .find(|(name, _)| name == CONTENT_HASH_HEADER)
            .map_or_else(|| sha256_hex(self.body), |(_, value)| (*value).to_owned());
        let header_lines: String =
            headers.iter().flat_map(|(name, value)| [name.as_str(), ":", *value, "\n"]).collect();
        let (method, path) = (self.method, canonical_path(self.path));
        let query = canonical_query(self.query);
        format!("{method}\n{path}\n{query}\n{header_lines}\n{}\n{hash}", self.signed_headers())
    }

    fn signed_headers(&self) -> String {
        let names: Vec<String> = self.sorted_headers().into_iter().map(|(name, _)| name).collect();
        names.join(";")
    }

    fn sorted_headers(&self) -> Vec<(String, &str)> {
        let mut headers: Vec<(String, &str)> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
        headers.push((DATE_HEADER.to_owned(), self.date));
        headers.sort();
        headers
    }
}

/// A point in time as the `X-Sdk-Date` header gives it: UTC, to the second. The service refuses one that is more
/// than 15 minutes off.
pub fn date(now: Timestamp) -> String {
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The query in its canonical form, which is also the form in which it has to be sent: pairs sorted by key, then
/// by value, both escaped; an empty value keeps its `=`.
pub fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
    pairs.join("&")
}

/// The path with every segment escaped and a `/` at its end, which the path that is sent need not have.
fn canonical_path(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(escape).collect();
    let mut path = segments.join("/");
    if !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// Keeps letters, digits and `-_.~`; everything else becomes `%XX` of its UTF-8 bytes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex::encode_upper([byte]));
        }
    }
    escaped
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac_hex(key: &Secret, text: &str) -> String {
    #[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("any length is allowed");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Made by running the official Python SDK with a fixed date and made-up keys.
    #[derive(Deserialize)]
    struct Vector {
        name: String,
        method: String,
        path: String,
        query: Vec<(String, String)>,
        headers: std::collections::BTreeMap<String, String>,
        body: String,
        access_key: String,
        secret_key: String,
        canonical_request: String,
        string_to_sign: String,
        authorization: String,
    }

    fn borrowed<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<(&'a str, &'a str)> {
        pairs.into_iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    #[test]
    fn every_vector_of_the_official_sdk_is_reproduced() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("testdata/sign-vectors.json")).unwrap();
        assert_eq!(vectors.len(), 9);
        for mut vector in vectors {
            let date = vector.headers.remove("X-Sdk-Date").unwrap();
            let headers = borrowed(&vector.headers);
            let query = borrowed(vector.query.iter().map(|(key, value)| (key, value)));
            let signable = Signable {
                method: &vector.method,
                path: &vector.path,
                query: &query,
                headers: &headers,
                date: &date,
                body: vector.body.as_bytes(),
            };
            assert_eq!(signable.canonical_request(), vector.canonical_request, "{}", vector.name);
            assert_eq!(signable.string_to_sign(), vector.string_to_sign, "{}", vector.name);
            let authorization = signable.authorization(&vector.access_key.into(), &vector.secret_key.into());
            assert_eq!(authorization, vector.authorization, "{}", vector.name);
        }
    }

    #[test]
    fn the_example_of_the_signing_guide_is_reproduced() {
        let signable = Signable {
            method: "GET",
            path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
            query: &[("limit", "2"), ("marker", "13551d6b-755d-4757-b956-536f674975c0")],
            headers: &[("Content-Type", "application/json"), ("Host", "service.region.example.com")],
            date: "20191115T033655Z",
            body: b"",
        };
        assert_eq!(
            sha256_hex(signable.canonical_request().as_bytes()),
            "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
        );
        assert_eq!(
            signable.authorization(
                &"QTWAOYTTINDUT2QVKYUC".into(),
                &"MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc".into()
            ),
            "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, \
             Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
        );
    }

    #[test]
    fn the_date_is_utc_to_the_second() {
        assert_eq!(date("2026-01-02T03:04:05.987Z".parse().unwrap()), "20260102T030405Z");
        assert_eq!(date("2026-01-02T03:04:05+02:00".parse().unwrap()), "20260102T010405Z");
    }

    #[test]
    fn a_body_hash_in_its_header_is_used_as_it_is() {
        let signable = Signable {
            method: "PUT",
            path: "/",
            query: &[],
            headers: &[("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")],
            date: "20260102T030405Z",
            body: b"x",
        };
        assert!(signable.canonical_request().ends_with("\nUNSIGNED-PAYLOAD"));
    }
}

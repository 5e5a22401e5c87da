//! SDK-HMAC-SHA256, the signature of requests with an access key and a secret key. Pure: a function
//! of the request, date included. It never reads a clock and never logs what it signs.
//!
//! There is no derivation by region, service or day: the secret key is the key of the HMAC itself. Source: the
//! API signing guide (devg-apisign) and the official Python SDK, whose output the test vectors are.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::model::secret::{ExposeSecret, Secret};

const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// The header that carries the date; every signature covers it.
pub const DATE_HEADER: &str = "x-sdk-date";
/// A request with this header has its body's hash in it, or a word that says the body is not
/// signed.
const CONTENT_HASH_HEADER: &str = "x-sdk-content-sha256";
/// SHA-256 of an empty body, which nearly all requests have.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The parts of a request that a signature covers.
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
        let headers = self.sorted_headers();
        let mac = hmac(secret_key, &self.string_to_sign(&headers));
        let access_key = access_key.expose_secret();
        let mut value = String::with_capacity(256);
        for part in [ALGORITHM, " Access=", access_key, ", SignedHeaders="] {
            value.push_str(part);
        }
        push_names(&mut value, &headers);
        value.push_str(", Signature=");
        push_hex(&mut value, &mac);
        value
    }

    fn string_to_sign(&self, headers: &[(Cow<'_, str>, &str)]) -> String {
        let hash = Sha256::digest(self.canonical_request(headers).as_bytes());
        let mut text = String::with_capacity(128);
        for part in [ALGORITHM, "\n", self.date, "\n"] {
            text.push_str(part);
        }
        push_hex(&mut text, &hash);
        text
    }

    fn canonical_request(&self, headers: &[(Cow<'_, str>, &str)]) -> String {
        let mut text = String::with_capacity(512);
        text.push_str(self.method);
        text.push('\n');
        push_canonical_path(&mut text, self.path);
        text.push('\n');
        push_canonical_query(&mut text, self.query);
        text.push('\n');
        for (name, value) in headers {
            for part in [name, ":", value, "\n"] {
                text.push_str(part);
            }
        }
        text.push('\n');
        push_names(&mut text, headers);
        text.push('\n');
        match headers.iter().find(|(name, _)| name == CONTENT_HASH_HEADER) {
            Some((_, hash)) => text.push_str(hash),
            None if self.body.is_empty() => text.push_str(HASH_OF_NOTHING),
            None => push_hex(&mut text, &Sha256::digest(self.body)),
        }
        text
    }

    fn sorted_headers(&self) -> Vec<(Cow<'_, str>, &str)> {
        let lower = |name: &'_ str| name.bytes().all(|byte| !byte.is_ascii_uppercase());
        let mut headers: Vec<(Cow<'_, str>, &str)> = Vec::with_capacity(self.headers.len() + 1);
        for &(name, value) in self.headers {
            let name = if lower(name) { name.into() } else { name.to_ascii_lowercase().into() };
            headers.push((name, value.trim()));
        }
        headers.push((DATE_HEADER.into(), self.date));
        headers.sort();
        headers
    }
}

/// Returns the names with semicolons between them.
fn push_names(text: &mut String, headers: &[(Cow<'_, str>, &str)]) {
    for (n, (name, _)) in headers.iter().enumerate() {
        if n > 0 {
            text.push(';');
        }
        text.push_str(name);
    }
}

/// Returns a point in time as the `X-Sdk-Date` header has it: UTC, to the second. The API refuses
/// one that is more than 15 minutes off.
pub fn date(now: Timestamp) -> String {
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The query in its canonical form, which is also the form in which it has to be sent: pairs sorted by key, then
/// by value, both escaped; an empty value keeps its `=`.
pub fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut query = String::with_capacity(64);
    push_canonical_query(&mut query, pairs);
    query
}

fn push_canonical_query(text: &mut String, pairs: &[(&str, &str)]) {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    for (n, (key, value)) in pairs.into_iter().enumerate() {
        if n > 0 {
            text.push('&');
        }
        push_escaped(text, key);
        text.push('=');
        push_escaped(text, value);
    }
}

/// The path with every segment escaped and a `/` at its end, which the path that is sent need not have.
fn push_canonical_path(text: &mut String, path: &str) {
    for (n, segment) in path.split('/').enumerate() {
        if n > 0 {
            text.push('/');
        }
        push_escaped(text, segment);
    }
    if !path.ends_with('/') {
        text.push('/');
    }
}

/// Keeps letters, digits and `-_.~`; everything else becomes `%XX` of its UTF-8 bytes.
fn push_escaped(text: &mut String, plain: &str) {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    // Nearly always.
    if plain.bytes().all(is_kept) {
        text.push_str(plain);
        return;
    }
    for byte in plain.bytes() {
        if is_kept(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&hex::encode_upper([byte]));
        }
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
}

fn hmac(key: &Secret, text: &str) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("any length is allowed");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
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
            assert_eq!(
                signable.canonical_request(&signable.sorted_headers()),
                vector.canonical_request,
                "{}",
                vector.name
            );
            assert_eq!(
                signable.string_to_sign(&signable.sorted_headers()),
                vector.string_to_sign,
                "{}",
                vector.name
            );
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
            hex::encode(Sha256::digest(signable.canonical_request(&signable.sorted_headers()))),
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
    fn the_hash_of_nothing_is_that_of_nothing() {
        assert_eq!(HASH_OF_NOTHING, hex::encode(Sha256::digest(b"")));
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
        assert!(signable.canonical_request(&signable.sorted_headers()).ends_with("\nUNSIGNED-PAYLOAD"));
    }
}

//! The check of a request's signature, written from scratch: it shares no code with the signer, so
//! that one mistake is not on both sides.
//!
//! SDK-HMAC-SHA256 as the API signing guide and the SDKs have it: the secret key itself is the HMAC key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::exchange::{SimRequest, percent_decoded};
use super::log::Verdict;
use super::scenario::Key;
use super::time::SimTime;

const ALGORITHM: &str = "SDK-HMAC-SHA256";
/// The gateway refuses requests whose date is further off than this.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(15 * 60);
/// More refusals in a row than this lock the key …
const REFUSALS_BEFORE_LOCK: u32 = 5;
/// … for this long.
const LOCK: Duration = Duration::from_mins(5);

/// The gateway's check of signatures, with its memory of refusals.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    keys: Vec<Key>,
    /// The keys that IAM has returned, each until its end.
    temporary: Vec<(Key, Timestamp)>,
    refusals: BTreeMap<String, Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    in_a_row: u32,
    locked_until: Option<SimTime>,
}

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    access_key: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl Gatekeeper {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys, temporary: Vec::new(), refusals: BTreeMap::new() }
    }

    /// Accepts this key too, until then.
    pub(super) fn admit(&mut self, key: Key, end: Timestamp) {
        self.temporary.push((key, end));
    }

    /// Checks a request that arrives at `now`, when the API's clock shows `wall`. Also returns the
    /// access key that the request names.
    pub(super) fn judge(
        &mut self,
        now: SimTime,
        wall: Timestamp,
        request: &SimRequest,
    ) -> (Verdict, Option<String>) {
        let Some(authorization) = request.header("authorization").and_then(Authorization::parse) else {
            return (Verdict::Missing, None);
        };
        let named = Some(authorization.access_key.to_owned());
        let Some(key) = self
            .keys
            .iter()
            .chain(self.temporary.iter().filter(|(_, end)| wall < *end).map(|(key, _)| key))
            .find(|key| key.access_key == authorization.access_key)
        else {
            return (Verdict::UnknownKey, named);
        };
        let refusals = self.refusals.entry(key.access_key.clone()).or_default();
        if let Some(until) = refusals.locked_until {
            if now < until {
                return (Verdict::Locked, named);
            }
            *refusals = Refusals::default();
        }
        let verdict = verify(request, &authorization, key, wall);
        if verdict.passes() {
            refusals.in_a_row = 0;
        } else {
            refusals.in_a_row += 1;
            if refusals.in_a_row > REFUSALS_BEFORE_LOCK {
                refusals.locked_until = Some(now.after(LOCK));
            }
        }
        (verdict, named)
    }
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let parameters = header.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let mut found = [None; 3];
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=')?;
            let place = ["Access", "SignedHeaders", "Signature"].iter().position(|known| *known == name)?;
            *found.get_mut(place)? = Some(value);
        }
        let [access_key, signed_headers, signature] = found;
        Some(Self {
            access_key: access_key?,
            signed_headers: signed_headers?.split(';').collect(),
            signature: signature?,
        })
    }
}

fn verify(request: &SimRequest, authorization: &Authorization<'_>, key: &Key, wall: Timestamp) -> Verdict {
    let Some(date) = request.header("x-sdk-date") else { return Verdict::Skewed };
    let Some(sent) = read_date(date) else { return Verdict::Skewed };
    let Some(canonical) = canonical_request(request, &authorization.signed_headers) else {
        return Verdict::Mismatch;
    };
    let to_sign = format!("{ALGORITHM}\n{date}\n{}", hex::encode(Sha256::digest(canonical)));
    let Ok(claimed) = hex::decode(authorization.signature) else { return Verdict::Mismatch };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.secret_key.as_bytes()) else {
        return Verdict::Mismatch;
    };
    mac.update(to_sign.as_bytes());
    if mac.verify_slice(&claimed).is_err() {
        return Verdict::Mismatch;
    }
    if sent.duration_since(wall).abs() > MAX_SKEW {
        return Verdict::Skewed;
    }
    if key.security_token.as_deref() != request.header("x-security-token") {
        return Verdict::BadToken;
    }
    Verdict::Good
}

/// `YYYYMMDDTHHMMSSZ`.
fn read_date(text: &str) -> Option<Timestamp> {
    let local = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Returns the request in the form that is signed; `None` if the list of signed headers is invalid:
/// it must name the date, and only headers that exist, in order.
fn canonical_request(request: &SimRequest, signed_headers: &[&str]) -> Option<String> {
    if !signed_headers.contains(&"x-sdk-date") || !signed_headers.is_sorted() {
        return None;
    }
    let mut headers = String::new();
    for name in signed_headers {
        if name.chars().any(|c| c.is_ascii_uppercase()) {
            return None;
        }
        let _ = writeln!(headers, "{name}:{}", request.header(name)?.trim());
    }
    let mut path =
        request.path.split('/').map(|part| escaped(&percent_decoded(part))).collect::<Vec<_>>().join("/");
    if !path.ends_with('/') {
        path.push('/');
    }
    let mut query = request.query.clone();
    query.sort();
    let query: Vec<_> =
        query.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
    let hash = request
        .header("x-sdk-content-sha256")
        .map_or_else(|| hex::encode(Sha256::digest(&request.body)), str::to_owned);
    let (method, query, names) = (&request.method, query.join("&"), signed_headers.join(";"));
    Some(format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{hash}"))
}

/// Everything but unreserved characters as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::*;
use crate::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_SECRET_KEY};

/// Made by running the official Python SDK (huaweicloudsdkcore 3.1.219) with a fixed date and made-up keys.
const VECTORS: &str = include_str!("vectors.json");

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn request(vector: &Value) -> SimRequest {
    let pair = |pair: &Value| -> Vec<(String, String)> {
        let values = pair[1].as_array().cloned().unwrap_or_else(|| vec![pair[1].clone()]);
        values.iter().map(|value| (text(&pair[0]), text(value))).collect()
    };
    let mut headers: Vec<_> = vector["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    headers.push(("Authorization".to_owned(), text(&vector["authorization"])));
    SimRequest {
        method: text(&vector["method"]),
        path: text(&vector["path"]),
        query: vector["query"].as_array().unwrap().iter().flat_map(pair).collect(),
        headers,
        body: text(&vector["body"]).into_bytes(),
    }
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(VECTORS).unwrap()
}

fn vector(name: &str) -> SimRequest {
    request(vectors().iter().find(|vector| vector["name"] == name).unwrap())
}

fn gatekeeper(security_token: Option<&str>) -> Gatekeeper {
    Gatekeeper::new(vec![Key {
        access_key: DEFAULT_ACCESS_KEY.to_owned(),
        secret_key: DEFAULT_SECRET_KEY.to_owned(),
        security_token: security_token.map(str::to_owned),
    }])
}

fn date() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn judged(request: &SimRequest) -> Verdict {
    let token = request.header("x-security-token").map(str::to_owned);
    gatekeeper(token.as_deref()).judge(SimTime(0), date(), request).0
}

fn replace(request: &mut SimRequest, name: &str, value: &str) {
    request.headers.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap().1 = value.to_owned();
}

#[test]
fn what_the_official_sdk_signs_is_good() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let request = request(&vector);
        let names = Authorization::parse(request.header("authorization").unwrap()).unwrap().signed_headers;
        assert_eq!(
            canonical_request(&request, &names).unwrap(),
            text(&vector["canonical_request"]),
            "{}",
            vector["name"]
        );
        assert_eq!(judged(&request), Verdict::Good, "{}", vector["name"]);
    }
}

#[test]
fn the_example_of_the_signing_guide_is_good() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = SimRequest {
        method: "GET".to_owned(),
        path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs".to_owned(),
        query: vec![header("limit", "2"), header("marker", "13551d6b-755d-4757-b956-536f674975c0")],
        headers: vec![
            header("Content-Type", "application/json"),
            header("host", "service.region.example.com"),
            header("X-Sdk-Date", "20191115T033655Z"),
            header(
                "Authorization",
                "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, \
                 Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
            ),
        ],
        body: Vec::new(),
    };
    let key = Key {
        access_key: "QTWAOYTTINDUT2QVKYUC".to_owned(),
        secret_key: "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc".to_owned(),
        security_token: None,
    };
    let at = "2019-11-15T03:36:55Z".parse().unwrap();
    assert_eq!(Gatekeeper::new(vec![key]).judge(SimTime(0), at, &request).0, Verdict::Good);
}

#[test]
fn a_path_is_the_same_however_it_is_escaped() {
    let mut request = vector("odd-query-escaping");
    request.path = "/v1.0/a%20b/c~d/%C3%A9%2Bf".to_owned();
    assert_eq!(judged(&request), Verdict::Good);
}

#[test]
fn any_change_to_what_is_signed_is_a_mismatch() {
    let good = vector("abort-permanent");
    let changes: [fn(&mut SimRequest); 6] = [
        |request| request.method = "GET".to_owned(),
        |request| request.path.push('x'),
        |request| request.query.clear(),
        |request| request.body = b"{}".to_vec(),
        |request| replace(request, "host", "elsewhere"),
        |request| replace(request, "x-sdk-date", "20260102T030406Z"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut request = good.clone();
        change(&mut request);
        assert_eq!(judged(&request), Verdict::Mismatch, "change {number}");
    }
    assert_eq!(judged(&good), Verdict::Good);
}

#[test]
fn a_header_that_is_signed_but_missing_is_a_mismatch() {
    let mut request = vector("abort-permanent");
    request.headers.retain(|(name, _)| name != "X-Project-Id");
    assert_eq!(judged(&request), Verdict::Mismatch);
}

#[test]
fn a_request_without_a_readable_authorization_is_refused() {
    for header in
        ["", "Bearer x", "SDK-HMAC-SHA256 Access=a", "SDK-HMAC-SHA256 Access=a, Signature=b, Other=c"]
    {
        let mut request = vector("abort-permanent");
        replace(&mut request, "authorization", header);
        assert_eq!(judged(&request), Verdict::Missing, "{header:?}");
    }
}

#[test]
fn a_date_more_than_a_quarter_of_an_hour_off_is_refused_either_way() {
    let request = vector("abort-permanent");
    let judge = |seconds| {
        let wall = date() + SignedDuration::from_secs(seconds);
        gatekeeper(None).judge(SimTime(0), wall, &request).0
    };
    assert_eq!([judge(900), judge(-900)], [Verdict::Good; 2]);
    assert_eq!([judge(901), judge(-901)], [Verdict::Skewed; 2]);
}

#[test]
fn a_temporary_key_needs_its_token() {
    let request = vector("retry-temporary-credential");
    assert_eq!(gatekeeper(Some("another")).judge(SimTime(0), date(), &request).0, Verdict::BadToken);
    assert_eq!(gatekeeper(None).judge(SimTime(0), date(), &request).0, Verdict::BadToken);
    let bare = vector("abort-permanent");
    assert_eq!(gatekeeper(Some("needed")).judge(SimTime(0), date(), &bare).0, Verdict::BadToken);
}

#[test]
fn the_sixth_refusal_in_a_row_locks_the_key_for_five_minutes() {
    let good = vector("abort-permanent");
    let mut bad = good.clone();
    bad.method = "GET".to_owned();
    let mut gatekeeper = gatekeeper(None);
    let mut judge = |at: i64, request: &SimRequest| gatekeeper.judge(SimTime(at), date(), request).0;

    for at in 0..5 {
        assert_eq!(judge(at, &bad), Verdict::Mismatch);
    }
    assert_eq!(judge(5, &good), Verdict::Good, "five are not too many, and a good one ends the row");
    for at in 6..12 {
        assert_eq!(judge(at, &bad), Verdict::Mismatch);
    }
    assert_eq!(judge(12, &good), Verdict::Locked);
    assert_eq!(judge(11 + 299_999, &good), Verdict::Locked);
    assert_eq!(judge(11 + 300_000, &good), Verdict::Good);
}

#[test]
fn an_unknown_key_is_named_in_the_refusal() {
    let mut request = vector("abort-permanent");
    let header = request.header("authorization").unwrap().replace(DEFAULT_ACCESS_KEY, "NOBODY");
    replace(&mut request, "authorization", &header);
    let (verdict, key) = gatekeeper(None).judge(SimTime(0), date(), &request);
    assert_eq!((verdict, key.as_deref()), (Verdict::UnknownKey, Some("NOBODY")));
    assert_eq!(
        verdict.message("NOBODY"),
        "Incorrect IAM authentication information: Get secretKey failed,ak:NOBODY,err:ak not exist"
    );
}

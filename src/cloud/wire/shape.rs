//! The shapes of error bodies. Four parties answer (the gateway, CSS, IAM, a load balancer), each
//! in its own. The official SDKs do not even know that of CSS itself, so it is tried first.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::lenient::{Loose, Object};
use crate::model::text::shown;

const LONGEST_CODE: usize = 64;
const LONGEST_MESSAGE: usize = 300;

/// What kind of body an answer had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// None, or blanks.
    Empty,
    /// A known shape of an error, with a code.
    Error,
    /// Well-formed JSON without an error code.
    Json,
    /// HTML, truncated, too long or contradictory: not understood.
    Other,
}

/// The error in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cloud) struct Shape {
    pub(in crate::cloud) kind: BodyKind,
    pub(in crate::cloud) code: Option<String>,
    pub(in crate::cloud) message: String,
}

impl Shape {
    /// Makes a body that is not understood, with a word on its kind.
    pub(in crate::cloud) fn other(message: impl Into<String>) -> Self {
        Self { kind: BodyKind::Other, code: None, message: message.into() }
    }
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow, default, rename = "errCode")]
    css_code: Loose<'a>,
    #[serde(borrow, default, rename = "externalMessage")]
    css_message: Loose<'a>,
    #[serde(borrow, default, rename = "error_code")]
    gateway_code: Loose<'a>,
    #[serde(borrow, default, rename = "error_msg")]
    gateway_message: Loose<'a>,
    #[serde(borrow, default)]
    error: Object<Inner<'a>>,
    #[serde(borrow, default)]
    code: Loose<'a>,
    #[serde(borrow, default)]
    message: Loose<'a>,
    #[serde(borrow, default, rename = "errorCode")]
    other_code: Loose<'a>,
    #[serde(borrow, default, rename = "errorMsg")]
    other_message: Loose<'a>,
}

/// IAM's: the code is a number there.
#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow, default)]
    code: Loose<'a>,
    #[serde(borrow, default)]
    message: Loose<'a>,
}

/// Reads the body of an answer. `success`: its status is a 2xx, where a `code` and a `message`
/// beside other fields need not be an error.
pub(in crate::cloud) fn read(body: &[u8], success: bool) -> Shape {
    let text = body.trim_ascii();
    let unnamed = |kind, message: &str| Shape { kind, code: None, message: message.to_owned() };
    match text.first() {
        None => return unnamed(BodyKind::Empty, ""),
        Some(b'{') => {}
        Some(b'<') => return unnamed(BodyKind::Other, "an HTML or XML page"),
        Some(_) if serde_json::from_slice::<IgnoredAny>(text).is_ok() => {
            return unnamed(BodyKind::Json, "JSON, but not an object");
        }
        Some(_) => return unnamed(BodyKind::Other, "a body that is not JSON"),
    }
    // A body with a repeated key has two meanings, so it is not understood either.
    let Ok(body) = serde_json::from_slice::<ErrorBody<'_>>(text) else {
        return unnamed(BodyKind::Other, "JSON that is cut off or contradicts itself");
    };
    let (inner_code, inner_message) = match body.error.0 {
        Some(inner) => (inner.code, inner.message),
        None => (Loose::Absent, Loose::Absent),
    };
    let generic = body.code.filled().filter(|code| !success || looks_like_an_error_code(code));
    let shapes = [
        (body.css_code.filled(), body.css_message),
        (body.gateway_code.filled(), body.gateway_message),
        (inner_code.filled(), inner_message),
        (generic, body.message),
        (body.other_code.filled(), body.other_message),
    ];
    let of_the_code = shapes.iter().find(|(code, _)| code.is_some());
    let code = of_the_code.and_then(|(code, _)| code.as_deref()).map(|code| shown(code, LONGEST_CODE));
    let message = of_the_code
        .and_then(|(_, message)| message.filled())
        .or_else(|| shapes.iter().find_map(|(_, message)| message.filled()))
        .map(|message| shown(&message, LONGEST_MESSAGE))
        .unwrap_or_default();
    let kind = if code.is_some() { BodyKind::Error } else { BodyKind::Json };
    Shape { kind, code, message }
}

/// Such as `CSS.0011` or `APIGW.0301`.
fn looks_like_an_error_code(code: &str) -> bool {
    code.split_once('.').is_some_and(|(service, number)| {
        !service.is_empty()
            && service.bytes().all(|b| b.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_shape_is_read() {
        for (body, code, message) in [
            (r#"{"errCode":"CSS.0015","externalMessage":"No resources"}"#, "CSS.0015", "No resources"),
            (r#"{"error_msg":"denied","error_code":"APIGW.0301","request_id":"r"}"#, "APIGW.0301", "denied"),
            (r#"{"error":{"code":401,"message":"m","title":"Unauthorized"}}"#, "401", "m"),
            (r#"{"code":"CSS.0001","message":"m"}"#, "CSS.0001", "m"),
            (r#"{"code":404,"message":"m"}"#, "404", "m"),
            (r#"{"errorCode":"X","errorMsg":"m"}"#, "X", "m"),
            (r#"{"error_code":"IAM.1","error_msg":"m","encoded_authorization_message":"e"}"#, "IAM.1", "m"),
            // CSS's own comes first, wherever it is.
            (
                r#"{"code":"1","error_code":"APIGW.1","errCode":"CSS.0078","externalMessage":"m"}"#,
                "CSS.0078",
                "m",
            ),
            // Absent, null and empty codes are none.
            (r#"{"errCode":null,"error_code":"","code":"CSS.1","message":"m"}"#, "CSS.1", "m"),
            // A message under another name is better than none.
            (r#"{"errCode":"CSS.0005","message":"m"}"#, "CSS.0005", "m"),
            (r#" {"errCode":"CSS.0005","externalMessage":{"a":[1]}} "#, "CSS.0005", ""),
        ] {
            let expected =
                Shape { kind: BodyKind::Error, code: Some(code.to_owned()), message: message.to_owned() };
            assert_eq!(read(body.as_bytes(), false), expected, "{body}");
        }
    }

    #[test]
    fn an_error_in_a_success_is_seen() {
        for body in [
            r#"{"errCode":"CSS.0011","externalMessage":"m"}"#,
            r#"{"error_code":"CSS.0011","error_msg":"m"}"#,
            r#"{"code":"CSS.0011","message":"m"}"#,
            r#"{"detailList":[],"totalSize":0,"errCode":"CSS.0011"}"#,
        ] {
            assert_eq!(read(body.as_bytes(), true).code.as_deref(), Some("CSS.0011"), "{body}");
        }
        assert_eq!(read(br#"{"code":200,"message":"ok"}"#, true).kind, BodyKind::Json);
        assert_eq!(read(br#"{"code":"OK.","message":"ok"}"#, true).kind, BodyKind::Json);
    }

    #[test]
    fn what_is_no_error_body_is_told_apart() {
        for (body, kind) in [
            ("", BodyKind::Empty),
            (" \r\n\t", BodyKind::Empty),
            ("{}", BodyKind::Json),
            (r#"{"ok":true}"#, BodyKind::Json),
            (r#"{"errCode":null}"#, BodyKind::Json),
            (r#"["CSS.0011"]"#, BodyKind::Json),
            ("null", BodyKind::Json),
            ("<html>500</html>", BodyKind::Other),
            (r#"{"errCode":"CSS.00"#, BodyKind::Other),
            (r#"{"errCode":"CSS.0011","errCode":"CSS.0078"}"#, BodyKind::Other),
            (r#"{} {"errCode":"CSS.0011"}"#, BodyKind::Other),
            ("upstream connect error", BodyKind::Other),
            ("\u{feff}{}", BodyKind::Other),
        ] {
            let shape = read(body.as_bytes(), false);
            assert_eq!((shape.kind, shape.code), (kind, None), "{body}");
        }
        assert_eq!(read(b"{\"errCode\":\"\xff\"}", false).kind, BodyKind::Other);
    }

    #[test]
    fn a_long_message_with_control_characters_is_bounded_and_made_safe() {
        let body = format!(r#"{{"errCode":"CSS.1","externalMessage":"\u001b[31m{}"}}"#, "x".repeat(10_000));
        let shape = read(body.as_bytes(), false);
        assert!(shape.message.chars().count() <= LONGEST_MESSAGE + 20);
        assert!(!shape.message.contains('\u{1b}'));
    }
}

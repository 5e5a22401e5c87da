//! The answers of IAM and the metadata service. Unreadable parts are reported by their place alone,
//! because secrets are beside them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cloud::credential::{AccessKey, Fresh, Key, Life};
use crate::cloud::error::CloudError;
use crate::model::moment::Moment;

/// The body of an answer with a token.
#[derive(Deserialize)]
pub(super) struct TokenBody {
    pub(super) token: Token,
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub(super) expires_at: String,
    #[serde(default)]
    pub(super) project: Option<Project>,
}

#[derive(Deserialize)]
pub(super) struct Project {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
}

/// A page of projects.
#[derive(Deserialize)]
pub(super) struct Projects {
    pub(super) projects: Vec<Project>,
}

/// The body of an answer with a temporary key: each of the three who give one out has its own spelling.
#[derive(Deserialize)]
struct KeyBody {
    #[serde(alias = "credentials")]
    credential: TemporaryKey,
}

#[derive(Deserialize)]
struct TemporaryKey {
    #[serde(alias = "accessKeyId", alias = "access_key_id")]
    access: String,
    #[serde(alias = "secretAccessKey", alias = "secret_access_key")]
    secret: String,
    #[serde(alias = "securityToken", alias = "security_token")]
    securitytoken: String,
    #[serde(alias = "expiration")]
    expires_at: String,
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(
    body: &[u8],
    whose: &str,
    request_id: Option<&String>,
) -> Result<T, CloudError> {
    serde_json::from_slice(body).map_err(|error| {
        // The parser's text could repeat a value.
        let what = match error.classify() {
            serde_json::error::Category::Eof => "it is cut off",
            serde_json::error::Category::Data => "a value is missing, doubled or of the wrong type",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
        };
        let (line, column) = (error.line(), error.column());
        let detail = format!("the response of {whose}: {what} (line {line}, column {column})");
        CloudError::Unreadable { detail, request_id: request_id.cloned() }
    })
}

/// Reads the temporary key in an answer. `theirs`: the server's clock when it came.
pub(in crate::cloud) fn temporary_key(
    body: &[u8],
    whose: &str,
    request_id: Option<&String>,
    (now, theirs): (Moment, Timestamp),
) -> Result<Fresh, CloudError> {
    let KeyBody { credential } = read(body, whose, request_id)?;
    let TemporaryKey { access, secret, securitytoken, expires_at } = credential;
    let life = life(&expires_at, whose, request_id, (now, theirs))?;
    let key = AccessKey::new(access.into(), secret.into(), Some(securitytoken.into()));
    let key = key.map_err(|error| CloudError::Unreadable {
        detail: format!("the response of {whose}: {error}"),
        request_id: request_id.cloned(),
    })?;
    Ok(Fresh { key: Key::Access(key), life: Some(life) })
}

/// Returns how long something is valid, by the clock of the server that said so: ours may be wrong.
pub(super) fn life(
    expires_at: &str,
    whose: &str,
    request_id: Option<&String>,
    (now, theirs): (Moment, Timestamp),
) -> Result<Life, CloudError> {
    let end: Timestamp = expires_at.parse().map_err(|_| CloudError::Unreadable {
        detail: format!("the response of {whose}: expires_at is not a point in time"),
        request_id: request_id.cloned(),
    })?;
    let left = Duration::try_from(end.duration_since(theirs)).unwrap_or_default();
    Ok(Life::of(left, now))
}

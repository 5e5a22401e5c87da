//! The tokens that IAM and the metadata service have given out.

use jiff::Timestamp;

/// The tokens that were given out; the gatekeeper has the keys.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) tokens: Vec<(String, Timestamp)>,
    pub(super) metadata: Option<String>,
}

impl Given {
    /// Whether the token is one that was given out and is still good.
    pub(super) fn knows_token(&self, token: &str, wall: Timestamp) -> bool {
        self.tokens.iter().any(|(known, end)| known == token && wall < *end)
    }
}

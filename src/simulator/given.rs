//! The tokens that IAM and the metadata service have returned.

use jiff::Timestamp;

/// The tokens; the gatekeeper has the keys.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) tokens: Vec<(String, Timestamp)>,
    pub(super) metadata: Option<String>,
}

impl Given {
    /// Returns whether the token is one of them and still valid.
    pub(super) fn knows_token(&self, token: &str, wall: Timestamp) -> bool {
        self.tokens.iter().any(|(known, end)| known == token && wall < *end)
    }
}

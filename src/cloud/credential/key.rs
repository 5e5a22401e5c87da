//! What authenticates a request: an access key, or a token.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::cloud::error::KeyError;
use crate::cloud::sign::Signable;
use crate::model::secret::{ExposeSecret, Secret};

/// An access key with its secret: a permanent one, or a temporary one with its security token.
#[derive(Clone)]
pub struct AccessKey {
    access: Secret,
    secret: Secret,
    security_token: Option<Secret>,
}

impl AccessKey {
    /// Checks a key.
    ///
    /// # Errors
    /// If a part is empty or cannot be in a header.
    pub fn new(
        access_key: Secret,
        secret_key: Secret,
        security_token: Option<Secret>,
    ) -> Result<Self, KeyError> {
        let parts = [("access key", Some(&access_key)), ("secret key", Some(&secret_key))];
        for (part, secret) in parts.into_iter().chain([("security token", security_token.as_ref())]) {
            check(part, secret)?;
        }
        Ok(Self { access: access_key, secret: secret_key, security_token })
    }

    pub(in crate::cloud) fn authorization(&self, request: &Signable<'_>) -> String {
        request.authorization(&self.access, &self.secret)
    }

    /// For the `X-Security-Token` header, which is signed as well.
    pub(in crate::cloud) fn security_token(&self) -> Option<&str> {
        self.security_token.as_ref().map(ExposeSecret::expose_secret)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let temporary = self.security_token.is_some();
        f.debug_struct("AccessKey").field("temporary", &temporary).finish_non_exhaustive()
    }
}

/// A token of IAM, which requests have in `X-Auth-Token` instead of a signature.
#[derive(Clone)]
pub struct AuthToken(Secret);

impl AuthToken {
    /// Checks a token.
    ///
    /// # Errors
    /// If it is empty or cannot be in a header.
    pub fn new(token: Secret) -> Result<Self, KeyError> {
        check("token", Some(&token))?;
        Ok(Self(token))
    }

    /// For the `X-Auth-Token` header.
    pub(in crate::cloud) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthToken(masked)")
    }
}

fn check(part: &'static str, secret: Option<&Secret>) -> Result<(), KeyError> {
    let Some(secret) = secret.map(ExposeSecret::expose_secret) else { return Ok(()) };
    if secret.is_empty() {
        return Err(KeyError::Empty { part });
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyError::Character { part });
    }
    Ok(())
}

/// Either of them.
#[derive(Debug, Clone)]
pub enum Key {
    /// Signs.
    Access(AccessKey),
    /// Is sent along.
    Token(AuthToken),
}

impl From<AccessKey> for Key {
    fn from(key: AccessKey) -> Self {
        Self::Access(key)
    }
}

impl From<AuthToken> for Key {
    fn from(token: AuthToken) -> Self {
        Self::Token(token)
    }
}

impl Key {
    /// Removes from a text what it may repeat of the key.
    pub(in crate::cloud) fn scrub(&self, text: &str) -> String {
        let secrets = match self {
            Self::Access(key) => vec![Some(&key.secret), key.security_token.as_ref(), Some(&key.access)],
            Self::Token(token) => vec![Some(&token.0)],
        };
        secrets.into_iter().flatten().fold(text.to_owned(), |text, secret| mask(&text, secret))
    }

    /// Returns what distinguishes this key from every other one, all its parts together.
    pub(super) fn print(&self) -> Print {
        match self {
            Self::Access(key) => {
                let token = key.security_token.as_ref().map_or("", ExposeSecret::expose_secret);
                Print::of("key", &[key.access.expose_secret(), key.secret.expose_secret(), token])
            }
            Self::Token(token) => Print::of("token", &[token.expose()]),
        }
    }

    /// Returns the account that the API locks, or refuses, when it refuses this key.
    pub(super) fn account(&self) -> Print {
        match self {
            Self::Access(key) => Print::of("access key", &[key.access.expose_secret()]),
            Self::Token(_) => self.print(),
        }
    }
}

/// Returns a text without the secret in it.
pub(in crate::cloud) fn mask(text: &str, secret: &Secret) -> String {
    // A secret of one or two letters occurs in every text; masking those would reveal it.
    if secret.expose_secret().len() < 3 {
        return text.to_owned();
    }
    text.replace(secret.expose_secret(), "(masked)")
}

/// A hash by which secrets are compared, so that the secrets need not be kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cloud) struct Print([u8; 32]);

impl Print {
    pub(in crate::cloud) fn of(kind: &str, parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in std::iter::once(&kind).chain(parts) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// Returns bytes that must be hashed again, with a key, before any of them is kept.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The hash is made of secrets, and a short one could be found by trying.
impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print(masked)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_stand_in_a_header_is_refused_without_showing_it() {
        for (access, secret, token) in [
            ("", "s", None),
            ("a", "", None),
            ("hunter2\n", "s", None),
            ("a", "s s", None),
            ("a", "s", Some("é")),
        ] {
            let error = AccessKey::new(access.into(), secret.into(), token.map(Secret::from)).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
        for token in ["", "hunter2\r\nX: y"] {
            assert!(!AuthToken::new(token.into()).unwrap_err().to_string().contains("hunter2"));
        }
    }

    #[test]
    fn keys_are_masked_in_debug_output_and_scrubbed_from_strangers_texts() {
        let key = AccessKey::new("AKhunter1".into(), "SKhunter2".into(), Some("TKhunter3".into())).unwrap();
        let key = Key::from(key);
        let token = Key::from(AuthToken::new("hunter4".into()).unwrap());
        let shown = format!("{key:?} {token:?} {:?}", key.print());
        assert!(!shown.contains("hunter"), "{shown}");
        let scrubbed = key.scrub("ak AKhunter1, sk SKhunter2, token TKhunter3");
        assert_eq!(scrubbed, "ak (masked), sk (masked), token (masked)");
        assert_eq!(token.scrub("decrypt hunter4 fail"), "decrypt (masked) fail");
    }

    #[test]
    fn keys_are_told_apart_by_all_their_parts_and_accounts_by_the_access_key() {
        let key = |access: &str, secret: &str, token: Option<&str>| {
            Key::from(AccessKey::new(access.into(), secret.into(), token.map(Secret::from)).unwrap())
        };
        let (one, other, moved) = (key("a", "bc", None), key("a", "b", Some("c")), key("ab", "c", None));
        assert!(one.print() != other.print() && one.print() != moved.print());
        assert!(one.account() == other.account() && one.account() != moved.account());
        assert!(one.print() == key("a", "bc", None).print());
    }
}

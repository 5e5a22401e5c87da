//! Tokens for a user's password.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::wire::{self, TokenBody};
use super::{BODY_LIMIT, Granted, Iam};
use crate::clock::Clock;
use crate::cloud::credential::circuit::{AccountCircuit, AccountCircuits};
use crate::cloud::credential::key::{AuthToken, Key, Print, mask};
use crate::cloud::credential::{Fetching, Fresh, Source};
use crate::cloud::error::CloudError;
use crate::cloud::request::Plain;
use crate::cloud::transport::{Method, Transport};
use crate::model::id::ProjectId;
use crate::model::secret::{ExposeSecret, Secret};

/// Reads a secret, or says why it cannot be read. The text must never contain the secret.
pub type ReadSecret = Box<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// A user who signs in.
pub struct User {
    /// The user's name.
    pub name: String,
    /// The account's name.
    pub domain: String,
    /// Reads the password each time that it is needed.
    pub password: ReadSecret,
}

/// What a token is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One project.
    Project(ProjectId),
    /// The project of this name: a region's.
    ProjectNamed(String),
    /// The whole account: for assuming agencies.
    Domain(String),
}

/// Signs in with a password, and returns tokens. A refused password is paused, for all that sign in
/// as this user.
pub struct PasswordSource<T, C> {
    iam: Iam<T, C>,
    user: User,
    scope: Scope,
    account: Arc<AccountCircuit>,
}

impl<T, C> fmt::Debug for PasswordSource<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordSource").field("iam", &self.iam).finish_non_exhaustive()
    }
}

impl<T: Transport, C: Clock> PasswordSource<T, C> {
    /// Makes it for a user. The seed spreads the pauses after a refused password.
    pub fn new(iam: Iam<T, C>, user: User, scope: Scope, gates: &AccountCircuits, seed: u64) -> Box<Self> {
        let account = gates.before(Print::of("user", &[&user.domain, &user.name]), seed);
        Box::new(Self { iam, user, scope, account })
    }

    async fn sign_in(&self) -> Result<Fresh, CloudError> {
        let User { name, domain, password } = &self.user;
        let password = password().map_err(|detail| CloudError::Secrets { detail })?;
        let print = Print::of("password", &[password.expose_secret()]);
        // A password that was changed since a refusal is tried at once.
        self.account.renewed(print, self.iam.clock.now());
        let leave = self.account.enter(print, &*self.iam.clock).await?;
        let scope = match &self.scope {
            Scope::Project(id) => json!({ "project": { "id": id.as_str() } }),
            // A name belongs to an account; a plain Keystone does not accept it without.
            Scope::ProjectNamed(name) => json!({ "project": { "name": name, "domain": { "name": domain } } }),
            Scope::Domain(name) => json!({ "domain": { "name": name } }),
        };
        let user =
            json!({ "name": name, "password": password.expose_secret(), "domain": { "name": domain } });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let plain = Plain {
            method: Method::Post,
            path: "/v3/auth/tokens".to_owned(),
            query: vec![("nocatalog", "true".to_owned())],
            headers: Vec::new(),
            body: json!({ "auth": { "identity": identity, "scope": scope } }).to_string().into(),
            body_limit: BODY_LIMIT,
        };
        let scrub = |text: &str| mask(text, &password);
        let request = plain.unsigned(&self.iam.endpoint);
        let granted = self.iam.ask("sign-in", request, scrub, |now, head, refusal| match refusal {
            None => leave.over(now, None),
            // Whatever the text: frequent tries with the same password lock a user.
            Some(refusal) if matches!(head.status, 400..=407 | 409..=428 | 430..=499) => {
                leave.over(now, Some(refusal));
            }
            // Neither a proof nor a refusal.
            Some(_) => drop(leave),
        });
        self.token(granted.await?)
    }

    fn token(&self, granted: Granted) -> Result<Fresh, CloudError> {
        let Granted { at, head, token, body } = granted;
        let id = head.request_id.as_ref();
        let unreadable = |detail: String| CloudError::Unreadable { detail, request_id: id.cloned() };
        let token =
            token.ok_or_else(|| unreadable("the response of IAM has no X-Subject-Token".to_owned()))?;
        let TokenBody { token: described } = wire::read(&body, "IAM", id)?;
        if let (Scope::Project(wanted), Some(given)) = (&self.scope, &described.project)
            && given.id != wanted.as_str()
        {
            return Err(unreadable(
                "IAM returned a token for another project than the requested one".to_owned(),
            ));
        }
        let theirs = head.clock_offset.and_then(|offset| at.wall.checked_sub(offset).ok()).unwrap_or(at.wall);
        let life = wire::life(&described.expires_at, "IAM", id, (at, theirs))?;
        let token =
            AuthToken::new(token).map_err(|error| unreadable(format!("the response of IAM: {error}")))?;
        Ok(Fresh { key: Key::Token(token), life: Some(life) })
    }
}

impl<T: Transport, C: Clock> Source for PasswordSource<T, C> {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.sign_in())
    }

    fn scrub(&self, text: &str) -> String {
        (self.user.password)().map_or_else(|_| text.to_owned(), |password| mask(text, &password))
    }

    fn wake(&self) {
        self.account.wake();
    }
}

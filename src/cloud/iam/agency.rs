//! Temporary keys of an agency, which other credentials assume.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::{BODY_LIMIT, Granted, Iam, wire};
use crate::clock::Clock;
use crate::cloud::credential::{Credential, Fetching, Fresh, Source};
use crate::cloud::error::CloudError;
use crate::cloud::request::Plain;
use crate::cloud::transport::{Method, Transport};

/// The requested validity of temporary keys: the most that every agency allows.
const DURATION_SECONDS: u32 = 3600;
/// The name of the session in the provider's log.
const SESSION: &str = "upgrade-remediator";

/// An agency, by either of the two ways of assuming one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agency {
    /// By its name and the name of the account that created it (v3, at IAM).
    Named {
        /// The agency's name.
        agency: String,
        /// The name of the account that created it.
        domain: String,
    },
    /// By its URN (v5, at the security token service).
    Urn(String),
}

/// Assumes an agency with other credentials, and returns its temporary keys.
pub struct AgencySource<T, C> {
    /// The server of the keys: IAM, or the security token service.
    iam: Iam<T, C>,
    agency: Agency,
    with: Arc<Credential>,
}

impl<T, C> fmt::Debug for AgencySource<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgencySource")
            .field("iam", &self.iam)
            .field("agency", &self.agency)
            .finish_non_exhaustive()
    }
}

impl<T: Transport, C: Clock> AgencySource<T, C> {
    /// Makes it from an agency, and the credentials that assume it. `iam`: IAM for one by name, the
    /// security token service for one by URN.
    pub fn new(iam: Iam<T, C>, agency: Agency, with: Arc<Credential>) -> Box<Self> {
        Box::new(Self { iam, agency, with })
    }

    async fn assume(&self) -> Result<Fresh, CloudError> {
        self.with.sending(&*self.iam.clock, || self.assume_once()).await
    }

    async fn assume_once(&self) -> Result<Fresh, CloudError> {
        let (path, body) = match &self.agency {
            Agency::Named { agency, domain } => {
                let role = json!({
                    "agency_name": agency,
                    "domain_name": domain,
                    "duration_seconds": DURATION_SECONDS,
                });
                let identity = json!({ "methods": ["assume_role"], "assume_role": role });
                ("/v3.0/OS-CREDENTIAL/securitytokens", json!({ "auth": { "identity": identity } }))
            }
            Agency::Urn(urn) => (
                "/v5/agencies/assume",
                json!({
                    "agency_urn": urn,
                    "agency_session_name": SESSION,
                    "duration_seconds": DURATION_SECONDS,
                }),
            ),
        };
        let plain = Plain {
            method: Method::Post,
            path: path.to_owned(),
            body: body.to_string().into(),
            body_limit: BODY_LIMIT,
            ..Plain::default()
        };
        let pass = self.with.enter(&*self.iam.clock).await?;
        let request = plain.with_key(&self.iam.endpoint, pass.key(), self.iam.clock.now().wall);
        let scrub = |text: &str| self.with.scrub(text);
        let granted = self.iam.ask("assume-agency", request, scrub, |now, head, refusal| {
            pass.answered(now, refusal.filter(|_| head.status == 401));
        });
        let Granted { at, head, body, .. } = granted.await?;
        let theirs = head.clock_offset.and_then(|offset| at.wall.checked_sub(offset).ok()).unwrap_or(at.wall);
        wire::temporary_key(&body, "IAM", head.request_id.as_ref(), (at, theirs))
    }
}

impl<T: Transport, C: Clock> Source for AgencySource<T, C> {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.assume())
    }

    fn scrub(&self, text: &str) -> String {
        self.with.scrub(text)
    }

    fn wake(&self) {
        self.with.wake();
    }
}

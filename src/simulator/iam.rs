//! IAM beside the simulated API, and the metadata service of a machine: written from their
//! published samples. Both answer at the same address as the API itself.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::exchange::{Response, SimRequest};
use super::log::Operation;
use super::scenario::{Key, User};
use super::world::{Done, World};

/// A token of a real account is much longer.
const TOKEN_BYTES: usize = 24;
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);
const DEFAULT_LIFE: u32 = 900;
/// Keys of the metadata service are valid for an hour.
const METADATA_LIFE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Deserialize)]
struct AuthBody<S> {
    auth: Auth<S>,
}

#[derive(Deserialize)]
struct Auth<S> {
    identity: Identity,
    scope: Option<S>,
}

#[derive(Deserialize)]
struct Identity {
    methods: Vec<String>,
    password: Option<Password>,
    assume_role: Option<AssumeRole>,
}

#[derive(Deserialize)]
struct Password {
    user: PasswordUser,
}

#[derive(Deserialize)]
struct PasswordUser {
    name: String,
    password: String,
    domain: Named,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
struct Scope {
    project: Option<Named>,
    domain: Option<Named>,
}

#[derive(Deserialize)]
struct AssumeRole {
    agency_name: String,
    domain_name: Option<String>,
    duration_seconds: Option<u32>,
}

#[derive(Deserialize)]
struct AssumeUrn {
    agency_urn: String,
    agency_session_name: String,
    duration_seconds: Option<u32>,
}

impl World {
    /// Answers a request to IAM or the metadata service; returns `None` for any other request.
    pub(super) fn sign_in(
        &mut self,
        wall: Timestamp,
        request: &SimRequest,
        operation: Operation,
        request_id: &str,
    ) -> Option<Done> {
        let answer = match operation {
            Operation::Token => self.token(wall, request),
            Operation::AssumeAgency => self.assume(wall, request, request_id),
            Operation::MetadataToken => self.metadata_token(),
            Operation::MetadataKey => self.metadata_key(wall, request),
            _ => return None,
        };
        Some(match answer {
            Ok(response) => Done { response, taken: true, put: None, happened: Vec::new() },
            Err(response) => Done::refused(response),
        })
    }

    /// Returns a token for a password.
    fn token(&mut self, wall: Timestamp, request: &SimRequest) -> Result<Response, Response> {
        let invalid = || iam_error(400, "The request body is invalid", "Bad Request");
        let body: AuthBody<Scope> = serde_json::from_slice(&request.body).map_err(|_| invalid())?;
        let Auth { identity, scope } = body.auth;
        if identity.methods != ["password"] {
            return Err(invalid());
        }
        let user = identity.password.ok_or_else(invalid)?.user;
        let known = self.scenario.user.iter().any(|User { name, password, domain }| {
            *name == user.name && *password == user.password && Some(domain) == user.domain.name.as_ref()
        });
        if !known {
            return Err(iam_error(401, "The username or password is wrong.", "Unauthorized"));
        }
        let Scope { project, domain } = scope.ok_or_else(invalid)?;
        let (id, region) = (&self.scenario.project_id, &self.scenario.region);
        let scoped = match (&project, &domain) {
            (Some(project), None) => {
                let other = |wanted: &String| self.scenario.other_project.iter().any(|it| it.id == *wanted);
                project.id.as_ref().is_some_and(|wanted| wanted == id || other(wanted))
                    || project.name.as_ref().is_some_and(|wanted| wanted == region)
            }
            (None, Some(domain)) => domain.name == user.domain.name,
            _ => return Err(invalid()),
        };
        if !scoped {
            return Err(iam_error(401, "The authorization scope is not found.", "Unauthorized"));
        }
        let mut described = json!({
            "expires_at": written(later(wall, TOKEN_LIFE)),
            "issued_at": written(wall),
            "methods": ["password"],
            "catalog": [],
            "roles": [{ "name": "css_adm", "id": "0" }],
            "user": {
                "id": "7116d09f88fa41908676fdd4b039e95b",
                "name": user.name,
                "domain": { "id": DOMAIN_ID, "name": user.domain.name },
                "password_expires_at": "",
            },
        });
        let of = match project {
            Some(Named { id: Some(id), .. }) => {
                ("project", json!({ "id": id, "domain": { "id": DOMAIN_ID } }))
            }
            Some(_) => ("project", json!({ "id": id, "name": region, "domain": { "id": DOMAIN_ID } })),
            None => ("domain", json!({ "id": DOMAIN_ID, "name": user.domain.name })),
        };
        if let Value::Object(described) = &mut described {
            described.insert(of.0.to_owned(), of.1);
        }
        let token = format!("MIIsimulated{}", self.ids.secret(TOKEN_BYTES));
        self.given.tokens.push((token.clone(), later(wall, TOKEN_LIFE)));
        let answer = Response::json(201, &json!({ "token": described }));
        Ok(answer.with_header("X-Subject-Token", token))
    }

    /// Returns temporary keys of an agency, in either form. The request has passed the gateway.
    fn assume(
        &mut self,
        wall: Timestamp,
        request: &SimRequest,
        request_id: &str,
    ) -> Result<Response, Response> {
        if request.path.starts_with("/v5/") {
            let invalid = |code: &str, message: &str| {
                let body = json!({ "error_code": code, "error_msg": message, "request_id": request_id });
                Response::json(if code.ends_with("0003") { 403 } else { 400 }, &body)
            };
            let body: AssumeUrn = serde_json::from_slice(&request.body)
                .map_err(|_| invalid("PAP5.0001", "The request body is invalid."))?;
            let named = body.agency_urn.rsplit(':').next().is_some_and(|name| self.has_agency(name, None));
            if !named || body.agency_session_name.is_empty() {
                return Err(invalid("PAP5.0003", "You have no right to do this action."));
            }
            let (key, end) = self.temporary(wall, body.duration_seconds.unwrap_or(3600));
            return Ok(Response::json(
                200,
                &json!({
                    "assumed_agency": { "urn": body.agency_urn, "id": "3ae0f1d0a3d54ea1b7a0c0d0a3d54ea1:upgrade" },
                    "credentials": {
                        "access_key_id": key.access_key,
                        "secret_access_key": key.secret_key,
                        "security_token": key.security_token,
                        "expiration": written(end),
                    },
                }),
            ));
        }
        let invalid = || iam_error(400, "The request body is invalid", "Bad Request");
        let body: AuthBody<Scope> = serde_json::from_slice(&request.body).map_err(|_| invalid())?;
        let Identity { methods, assume_role, .. } = body.auth.identity;
        if methods != ["assume_role"] {
            return Err(invalid());
        }
        let role = assume_role.ok_or_else(invalid)?;
        let seconds = role.duration_seconds.unwrap_or(DEFAULT_LIFE);
        if !(900..=86_400).contains(&seconds) {
            return Err(invalid());
        }
        if !self.has_agency(&role.agency_name, role.domain_name.as_deref()) {
            return Err(iam_error(403, "You have no right to do this action", "Forbidden"));
        }
        let (key, end) = self.temporary(wall, seconds);
        Ok(Response::json(201, &credential(&key, end)))
    }

    fn has_agency(&self, name: &str, domain: Option<&str>) -> bool {
        let mut agencies = self.scenario.agency.iter();
        agencies.any(|agency| agency.name == name && domain.is_none_or(|domain| agency.domain == domain))
    }

    /// Returns a key that the gateway accepts from now on, for this time.
    fn temporary(&mut self, wall: Timestamp, seconds: u32) -> (Key, Timestamp) {
        let end = later(wall, SignedDuration::from_secs(i64::from(seconds)));
        let key = Key {
            access_key: format!("HST{}", self.ids.secret(9)),
            secret_key: self.ids.secret(20),
            security_token: Some(format!("simulated-{}", self.ids.secret(32))),
        };
        self.gatekeeper.admit(key.clone(), end);
        (key, end)
    }

    /// Returns a token of the metadata service.
    fn metadata_token(&mut self) -> Result<Response, Response> {
        if !self.scenario.machine.tokens {
            return Err(Response::of(404, "text/html", "<html>404 Not Found</html>"));
        }
        let token = self.ids.secret(16);
        self.given.metadata = Some(token.clone());
        Ok(Response::of(200, "text/plain", token))
    }

    /// Returns the key of the machine's agency.
    fn metadata_key(&mut self, wall: Timestamp, request: &SimRequest) -> Result<Response, Response> {
        let refused = |message: &str| Response::json(401, &json!({ "message": message }));
        if self.scenario.machine.tokens {
            let token = request.header("x-metadata-token");
            if token.is_none() || token != self.given.metadata.as_deref() {
                return Err(refused("The token is missing or invalid."));
            }
        }
        if !self.scenario.machine.agency {
            return Err(refused("Please configure Cloud Service Agency first"));
        }
        let (key, end) = self.temporary(wall, u32::try_from(METADATA_LIFE.as_secs()).unwrap_or(3600));
        Ok(Response::json(200, &credential(&key, end)))
    }
}

const DOMAIN_ID: &str = "d78cbac186b744899480f25bd0000000";

fn credential(key: &Key, end: Timestamp) -> Value {
    json!({
        "credential": {
            "access": key.access_key,
            "secret": key.secret_key,
            "securitytoken": key.security_token,
            "expires_at": written(end),
        },
    })
}

/// IAM's errors have a shape of their own.
fn iam_error(status: u16, message: &str, title: &str) -> Response {
    Response::json(status, &json!({ "error": { "code": status, "message": message, "title": title } }))
}

fn later(wall: Timestamp, by: SignedDuration) -> Timestamp {
    wall.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Returns a time in IAM's form: with microseconds.
fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

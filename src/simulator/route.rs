//! The operation of a request, by its method and path.

use super::exchange::{SimRequest, percent_decoded};
use super::log::Operation;

/// A request whose path the gateway knows, with the parts of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) project: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) task: Option<String>,
    /// `inst_type` or `upgrade_type`.
    pub(super) kind: Option<String>,
}

impl Route {
    /// Returns the route of this request; [`Operation::Unknown`] if the gateway knows none.
    pub(super) fn of(request: &SimRequest) -> Self {
        let parts: Vec<_> = request.path.trim_matches('/').split('/').map(percent_decoded).collect();
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let none =
            Self { operation: Operation::Unknown, project: None, cluster: None, task: None, kind: None };
        let of_iam = match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["v3", "projects"]) => Some(Operation::Projects),
            ("POST", ["v3", "auth", "tokens"]) => Some(Operation::Token),
            ("POST", ["v3.0", "OS-CREDENTIAL", "securitytokens"] | ["v5", "agencies", "assume"]) => {
                Some(Operation::AssumeAgency)
            }
            ("PUT", ["meta-data", "latest", "api", "token"]) => Some(Operation::MetadataToken),
            ("GET", ["openstack", "latest", "securitykey"]) => Some(Operation::MetadataKey),
            _ => None,
        };
        if let Some(operation) = of_iam {
            return Self { operation, ..none };
        }
        let ["v1.0", project, "clusters", rest @ ..] = parts.as_slice() else { return none };
        // Only the query makes an abort; a body has no effect.
        let aborts = request.query.iter().any(|(key, value)| key == "retry_mode" && !value.is_empty());
        let put = if aborts { Operation::Abort } else { Operation::Retry };
        let (operation, cluster, task, kind) = match (request.method.as_str(), rest) {
            ("GET", []) => (Operation::List, None, None, None),
            ("GET", [cluster]) => (Operation::Detail, Some(*cluster), None, None),
            ("GET", [cluster, "upgrade", "detail"]) => (Operation::Tasks, Some(*cluster), None, None),
            ("PUT", [cluster, "upgrade", task, "retry"]) => (put, Some(*cluster), Some(*task), None),
            ("POST", [cluster, "inst-type", kind, "image", "upgrade"]) => {
                (Operation::StartUpgrade, Some(*cluster), None, Some(*kind))
            }
            ("POST", [cluster, "inst-type", kind, "azmigrate"]) => {
                (Operation::StartAzSwitchover, Some(*cluster), None, Some(*kind))
            }
            ("GET", [cluster, "target", kind, "images"]) => {
                (Operation::Images, Some(*cluster), None, Some(*kind))
            }
            _ => return none,
        };
        let owned = |part: Option<&str>| part.map(str::to_owned);
        Self {
            operation,
            project: Some((*project).to_owned()),
            cluster: owned(cluster),
            task: owned(task),
            kind: owned(kind),
        }
    }
}

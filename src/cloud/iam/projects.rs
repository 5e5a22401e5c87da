//! The id of a project by the name of its region, looked up as the official SDKs do.

use std::sync::Arc;

use super::wire::{self, Project, Projects};
use super::{BODY_LIMIT, Granted, Iam};
use crate::clock::Clock;
use crate::cloud::credential::Credential;
use crate::cloud::error::CloudError;
use crate::cloud::project::{FindProject, Finding};
use crate::cloud::request::Plain;
use crate::cloud::transport::Transport;
use crate::model::id::ProjectId;
use crate::model::text::shown;

/// The largest number of projects in one message.
const MAX_NAMED: usize = 20;

/// Finds the project with the name of a region. Projects within it have other names, and need their
/// id.
pub struct ProjectByRegion<T, C> {
    iam: Iam<T, C>,
    region: String,
    credential: Arc<Credential>,
}

impl<T: Transport, C: Clock> ProjectByRegion<T, C> {
    /// Makes it for a region, with the credentials of the lookup.
    pub fn new(iam: Iam<T, C>, region: String, credential: Arc<Credential>) -> Self {
        Self { iam, region, credential }
    }

    async fn list(&self, name: Option<&str>) -> Result<Vec<Project>, CloudError> {
        self.credential.sending(&*self.iam.clock, || self.list_once(name)).await
    }

    async fn list_once(&self, name: Option<&str>) -> Result<Vec<Project>, CloudError> {
        let plain = Plain {
            path: "/v3/projects".to_owned(),
            query: name.iter().map(|name| ("name", (*name).to_owned())).collect(),
            body_limit: BODY_LIMIT,
            ..Plain::default()
        };
        let pass = self.credential.enter(&*self.iam.clock).await?;
        let request = plain.with_key(&self.iam.endpoint, pass.key(), self.iam.clock.now().wall);
        let scrub = |text: &str| self.credential.scrub(text);
        let granted = self.iam.ask("list-projects", request, scrub, |now, head, refusal| {
            pass.answered(now, refusal.filter(|_| head.status == 401));
        });
        let Granted { head, body, .. } = granted.await?;
        let Projects { projects } = wire::read(&body, "IAM", head.request_id.as_ref())?;
        Ok(projects)
    }

    async fn look_up(&self) -> Result<ProjectId, CloudError> {
        let mut named = self.list(Some(&self.region)).await?;
        // The name is a filter by its documentation; the answer is filtered again.
        named.retain(|project| project.name.as_deref().is_none_or(|name| name == self.region));
        let region = &self.region;
        match named.as_slice() {
            [one] => ProjectId::new(&one.id).map_err(|error| CloudError::NoProject {
                detail: format!("the project of the region {region} has an id that cannot be used: {error}"),
            }),
            [] => {
                let all = listed(&self.list(None).await?);
                Err(CloudError::NoProject {
                    detail: format!(
                        "no project is named {region:?}; give project_id. These credentials see: {all}"
                    ),
                })
            }
            many => Err(CloudError::NoProject {
                detail: format!(
                    "{} projects are named {region:?}; give the project_id of one: {}",
                    many.len(),
                    listed(many)
                ),
            }),
        }
    }
}

fn listed(projects: &[Project]) -> String {
    if projects.is_empty() {
        return "no project".to_owned();
    }
    let one = |project: &Project| {
        let name = project.name.as_deref().unwrap_or("without a name");
        format!("{} ({})", shown(&project.id, 40), shown(name, 60))
    };
    let mut all: Vec<String> = projects.iter().take(MAX_NAMED).map(one).collect();
    if projects.len() > MAX_NAMED {
        all.push(format!("and {} more", projects.len() - MAX_NAMED));
    }
    all.join(", ")
}

impl<T: Transport, C: Clock> FindProject for ProjectByRegion<T, C> {
    fn find(&self) -> Finding<'_> {
        Box::pin(self.look_up())
    }
}

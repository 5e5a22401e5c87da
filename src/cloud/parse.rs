//! Parses bodies alone, so that this can be measured (`benches/`).

use std::sync::Arc;

use super::wire;
use crate::model::cluster::Cluster;
use crate::model::task::{Task, TaskKind};

/// The clusters of a page; nothing where it is none.
pub fn clusters(body: &[u8]) -> Option<Vec<Arc<Cluster>>> {
    let page = wire::clusters(body).ok()?;
    Some(page.items.into_iter().map(|(_, cluster)| cluster).collect())
}

/// The tasks of a page; nothing where it is none.
pub fn tasks(body: &[u8], kind: TaskKind) -> Option<Vec<Task>> {
    let page = wire::tasks(body, kind).ok()?;
    Some(page.items.into_iter().map(|(_, task)| task).collect())
}

//! What each operation does and answers, after the gateway has accepted it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::{PutOutcome, not_now};
use super::exchange::{Response, SimRequest};
use super::images::{image_info, target};
use super::log::{Operation, PutKind};
use super::render::{self, Page};
use super::route::Route;
use super::scenario::{Kind, Paging, Refusal};
use super::task::{Phase, Plan, Task};
use super::time::SimTime;
use super::world::{Done, World};

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 1_000;

/// The body of a start of an upgrade. Other fields are allowed.
#[derive(Deserialize)]
struct UpgradeBody {
    target_image_id: String,
    upgrade_type: String,
    #[serde(rename = "indices_backup_check")]
    _indices_backup_check: bool,
    agency: String,
    #[serde(default)]
    batch_size: Option<usize>,
}

/// The body of a start of an AZ switchover.
#[derive(Deserialize)]
struct MigrateBody {
    source_az: String,
    target_az: String,
    migrate_type: String,
    agency: String,
}

impl World {
    /// Does what the request asks for.
    pub(super) fn execute(
        &mut self,
        now: SimTime,
        request: &SimRequest,
        route: &Route,
        request_id: &str,
    ) -> Done {
        if route.project.as_ref().is_some_and(|project| *project != self.scenario.project_id) {
            return Done::refused(Response::error(
                403,
                "APIGW.0310",
                "The project is unavailable.",
                request_id,
            ));
        }
        let answer = match route.operation {
            Operation::List => self.list(request),
            Operation::Projects => Ok(answered(&self.projects(request))),
            _ => self.on_cluster(now, request, route, request_id),
        };
        answer.unwrap_or_else(|refusal| {
            let Refusal { status, code, message } = refusal;
            Done::refused(Response::error(status, &code, &message, request_id))
        })
    }

    fn on_cluster(
        &mut self,
        now: SimTime,
        request: &SimRequest,
        route: &Route,
        request_id: &str,
    ) -> Result<Done, Refusal> {
        let index = route.cluster.as_deref().and_then(|id| self.cluster_index(id)).ok_or_else(no_cluster)?;
        let kind = route.kind.as_deref().unwrap_or_default();
        match route.operation {
            Operation::Tasks => self.tasks(now, index, request),
            Operation::Retry => self.put(now, index, route, PutKind::Retry, request_id),
            Operation::Abort => self.put(now, index, route, PutKind::Abort, request_id),
            Operation::StartUpgrade => self.start_upgrade(now, index, kind, &request.body),
            Operation::StartAzSwitchover => self.start_switchover(now, index, kind, &request.body),
            Operation::Images => self.images(index, kind),
            Operation::Detail
            | Operation::List
            | Operation::Projects
            | Operation::Token
            | Operation::AssumeAgency
            | Operation::MetadataToken
            | Operation::MetadataKey
            | Operation::Unknown => {
                let cluster = self.clusters.get(index).ok_or_else(no_cluster)?;
                Ok(answered(&render::cluster_detail(cluster, self.calendar())))
            }
        }
    }

    /// The list of clusters, the newest first.
    fn list(&self, request: &SimRequest) -> Result<Done, Refusal> {
        let page = page(request, self.scenario.ways.paging)?;
        let engine = request.parameter("datastoreType").unwrap_or_default();
        let there = |cluster: &&super::cluster::Cluster| cluster.created <= self.now() && !cluster.deleted;
        let mut clusters: Vec<_> = self
            .clusters
            .iter()
            .filter(there)
            .filter(|cluster| engine.is_empty() || cluster.engine == engine)
            .collect();
        clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.created));
        let calendar = self.calendar();
        let entries = clusters.into_iter().map(|cluster| render::cluster(cluster, calendar)).collect();
        Ok(answered(&render::list("clusters", entries, page, &self.scenario.ways.list)))
    }

    fn tasks(&mut self, now: SimTime, index: usize, request: &SimRequest) -> Result<Done, Refusal> {
        let page = page(request, self.scenario.ways.paging)?;
        let kind = match request.parameter("action_mode") {
            None | Some("UPGRADING") => Kind::Upgrade,
            Some("AZ_MIGRATION") => Kind::AzSwitchover,
            Some(_) => return Err(bad_parameter("action_mode")),
        };
        let (calendar, speed) = (self.calendar(), self.scenario.speed);
        let cluster = self.clusters.get_mut(index).ok_or_else(no_cluster)?;
        let entries = render::tasks(cluster, kind, now, calendar, &mut self.ids);
        let mut done = answered(&render::list("detailList", entries, page, &cluster.ways.tasks));
        cluster.was_read(now, speed, &mut done.happened);
        Ok(done)
    }

    fn put(
        &mut self,
        now: SimTime,
        index: usize,
        route: &Route,
        kind: PutKind,
        request_id: &str,
    ) -> Result<Done, Refusal> {
        let cluster = self.clusters.get_mut(index).ok_or_else(no_cluster)?;
        let mut happened = Vec::new();
        let task = route.task.as_deref().unwrap_or_default();
        match cluster.put(now, kind, task, &mut happened) {
            Some(PutOutcome::Ok(put)) => {
                Ok(Done { response: Response::taken(), taken: put.taken, put: Some(put), happened })
            }
            Some(PutOutcome::Refused(put, refusal)) => {
                let response = Response::error(refusal.status, &refusal.code, &refusal.message, request_id);
                Ok(Done { put: Some(put), ..Done::refused(response) })
            }
            None => Err(refusal(400, "CSS.0082", "CSS.0082 : The record is not found.")),
        }
    }

    fn start_upgrade(
        &mut self,
        now: SimTime,
        index: usize,
        instance_type: &str,
        body: &[u8],
    ) -> Result<Done, Refusal> {
        let body: UpgradeBody = serde_json::from_slice(body).map_err(|_| bad_parameter("body"))?;
        let cluster = self.clusters.get(index).ok_or_else(no_cluster)?;
        if instance_type != "all" {
            return Err(bad_parameter("inst_type"));
        }
        let (image_id, version) = target(&body.upgrade_type, &cluster.version)
            .filter(|(image_id, _)| *image_id == body.target_image_id)
            .ok_or_else(|| bad_parameter("target_image_id"))?;
        let plan = Plan {
            agency: body.agency,
            engine: cluster.engine.clone(),
            version,
            image_id: image_id.to_owned(),
            source_az: String::new(),
            target_az: String::new(),
            migrate_type: String::new(),
            instance_type: instance_type.to_owned(),
        };
        self.start(now, index, Kind::Upgrade, plan, body.batch_size.unwrap_or(1))
    }

    fn start_switchover(
        &mut self,
        now: SimTime,
        index: usize,
        instance_type: &str,
        body: &[u8],
    ) -> Result<Done, Refusal> {
        let body: MigrateBody = serde_json::from_slice(body).map_err(|_| bad_parameter("body"))?;
        if !matches!(instance_type, "all" | "ess" | "ess-cold" | "ess-client" | "ess-master") {
            return Err(bad_parameter("inst_type"));
        }
        if !matches!(body.migrate_type.as_str(), "multi_az_change" | "az_migrate") {
            return Err(bad_parameter("migrate_type"));
        }
        let cluster = self.clusters.get(index).ok_or_else(no_cluster)?;
        let plan = Plan {
            agency: body.agency,
            engine: cluster.engine.clone(),
            version: cluster.version.clone(),
            image_id: String::new(),
            source_az: body.source_az,
            target_az: body.target_az,
            migrate_type: body.migrate_type,
            instance_type: instance_type.to_owned(),
        };
        self.start(now, index, Kind::AzSwitchover, plan, 1)
    }

    fn start(
        &mut self,
        now: SimTime,
        index: usize,
        kind: Kind,
        plan: Plan,
        batch_size: usize,
    ) -> Result<Done, Refusal> {
        let id = self.ids.uuid();
        let cluster = self.clusters.get_mut(index).ok_or_else(no_cluster)?;
        if cluster.has_running_task() || cluster.engine == "logstash" {
            return Err(not_now());
        }
        let task = Task {
            id,
            kind,
            start: now,
            nodes: cluster.node_names(),
            completed: 0,
            execution: 1,
            first_execution: 1,
            phase: Phase::Running { since: now },
            terminated: false,
            hides_current_node: false,
            node_time: cluster.node_time,
            batch_size: batch_size.clamp(1, cluster.nodes.len().max(1)),
            fail: cluster.posted_fail.clone(),
            plan,
        };
        let mut happened = Vec::new();
        cluster.appear(now, task, &mut happened);
        Ok(Done { response: Response::taken(), taken: true, put: None, happened })
    }

    fn images(&self, index: usize, upgrade_type: &str) -> Result<Done, Refusal> {
        let cluster = self.clusters.get(index).ok_or_else(no_cluster)?;
        if !matches!(upgrade_type, "same" | "cross") {
            return Err(bad_parameter("upgrade_type"));
        }
        let images: Vec<_> = target(upgrade_type, &cluster.version)
            .into_iter()
            .map(|(id, version)| image_info(id, &cluster.engine, &version))
            .collect();
        Ok(answered(&json!({
            "needUploadUpgradePlugin": false,
            "totalSize": images.len(),
            "imageInfoList": images,
        })))
    }

    /// The lookup of a project's id by the name of its region: an API of IAM, at this address too.
    fn projects(&self, request: &SimRequest) -> Value {
        let own = [(&self.scenario.project_id, &self.scenario.region)];
        let others = self.scenario.other_project.iter().map(|project| (&project.id, &project.name));
        let wanted = |name: &str| request.parameter("name").is_none_or(|wanted| wanted == name);
        let projects: Vec<_> = own
            .into_iter()
            .chain(others)
            .filter(|(_, name)| wanted(name))
            .map(|(id, name)| {
                json!({
                    "id": id,
                    "name": name,
                    "domain_id": "d78cbac186b744899480f25bd0000000",
                    "parent_id": "d78cbac186b744899480f25bd0000000",
                    "is_domain": false,
                    "enabled": true,
                    "description": "",
                    "links": { "self": format!("https://iam.myhuaweicloud.com/v3/projects/{id}") },
                })
            })
            .collect();
        let links = json!({
            "next": null, "previous": null, "self": "https://iam.myhuaweicloud.com/v3/projects",
        });
        json!({ "links": links, "projects": projects })
    }
}

fn answered(body: &Value) -> Done {
    Done { response: Response::json(200, body), taken: true, put: None, happened: Vec::new() }
}

fn page(request: &SimRequest, paging: Paging) -> Result<Page, Refusal> {
    let number = |name: &str| match request.parameter(name) {
        None => Ok(None),
        Some(text) => {
            let number: usize = text.parse().map_err(|_| bad_parameter(name))?;
            if number == 0 { Err(bad_parameter(name)) } else { Ok(Some(number)) }
        }
    };
    let first = match paging {
        Paging::Offset => number("offset")?,
        Paging::Start => number("start")?,
        Paging::Both => number("offset")?.or(number("start")?),
    };
    let limit = number("limit")?.unwrap_or(DEFAULT_LIMIT);
    if limit > MAX_LIMIT {
        return Err(bad_parameter("limit"));
    }
    Ok(Page { first: first.unwrap_or(1), limit })
}

fn refusal(status: u16, code: &str, message: &str) -> Refusal {
    Refusal { status, code: code.to_owned(), message: message.to_owned() }
}

fn bad_parameter(name: &str) -> Refusal {
    refusal(400, "CSS.0001", &format!("CSS.0001 : Incorrect parameters. ({name})"))
}

fn no_cluster() -> Refusal {
    refusal(403, "CSS.0015", "No resources are found or the access is denied.")
}

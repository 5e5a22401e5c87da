//! The API's JSON, written from its published samples (and from no client's types).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::cluster::Cluster;
use super::ids::Ids;
use super::images::image_info;
use super::scenario::{
    CompletedNodesWay, EndTimeWay, ExecuteTimesWay, Kind, ListWays, Order, TotalSize, Ways,
};
use super::steps::STEPS;
use super::task::{Phase, Task};
use super::time::SimTime;

/// Times in the API's form: by the API's clock, in UTC, without a zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    /// The API's clock when the world began.
    pub(super) begin: Timestamp,
}

impl Calendar {
    fn write(self, at: SimTime) -> String {
        at.wall(self.begin).to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string()
    }
}

/// The requested part of a list: the first item, from 1, and the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) first: usize,
    pub(super) limit: usize,
}

/// A list as the API shows it, without the elements that its ways leave out. `name` is the key of
/// the elements.
pub(super) fn list(name: &str, elements: Vec<Value>, page: Page, ways: &ListWays) -> Value {
    let total = elements.len();
    let shown: Vec<_> = elements
        .into_iter()
        .take(total.saturating_sub(ways.left_out))
        .skip(page.first.saturating_sub(1))
        .take(page.limit.min(ways.max_page.unwrap_or(usize::MAX)))
        .collect();
    let total = match ways.total_size {
        TotalSize::Honest => Some(total),
        TotalSize::OneMore => Some(total + 1),
        TotalSize::OneLess => Some(total.saturating_sub(1)),
        TotalSize::Absent => None,
    };
    let mut answer = Map::new();
    if let Some(total) = total {
        answer.insert("totalSize".to_owned(), json!(total));
    }
    answer.insert(name.to_owned(), Value::Array(shown));
    Value::Object(answer)
}

/// One entry of the list of clusters.
pub(super) fn cluster(cluster: &Cluster, calendar: Calendar) -> Value {
    let busy = cluster.has_running_task() && !cluster.ways.running_action.is_empty();
    let actions = if busy { vec![cluster.ways.running_action.clone()] } else { Vec::new() };
    let tags: Vec<_> =
        cluster.tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let kind = if cluster.engine == "logstash" { "lgs" } else { "ess" };
    let instances: Vec<_> = cluster
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            json!({
                "id": node.id,
                "name": node.name,
                "type": kind,
                "status": "200",
                "azCode": node.zone,
                "specCode": "ess.spec-4u16g",
                "ip": format!("192.168.0.{}", 100 + index % 150),
                "resourceId": node.resource_id,
                "subnetId": "025d45f9-0000-4000-a000-e852c6455a5e",
                "volume": { "type": "COMMON", "size": 40, "resourceIds": [node.volume_id] },
            })
        })
        .collect();
    json!({
        "id": cluster.id,
        "name": cluster.name,
        "status": if busy { "100" } else { "200" },
        "actions": actions,
        "actionProgress": {},
        "created": calendar.write(cluster.created),
        "updated": calendar.write(cluster.updated),
        "datastore": {
            "type": cluster.engine,
            "version": cluster.version,
            "subVersion": format!("{}_24.3.0_0827", cluster.version),
            "isEosCluster": false,
            "supportSecuritymode": false,
        },
        "instances": instances,
        "tags": tags,
        "endpoint": "192.168.0.100:9200",
        "publicIp": null,
        "publicKibanaResp": null,
        "elbWhiteList": { "enableWhiteList": false, "whiteList": "" },
        "bandwidthSize": 0,
        "httpsEnable": false,
        "authorityEnable": false,
        "diskEncrypted": false,
        "backupAvailable": false,
        "period": false,
        "enterpriseProjectId": "0",
        "vpcId": "07e7ab39-0000-4000-a000-d3f28ea7f051",
        "subnetId": "025d45f9-0000-4000-a000-e852c6455a5e",
        "securityGroupId": "0347aabc-0000-4000-a000-6b10a79701e2",
    })
}

/// A cluster's detail: the entry of the list, and further fields.
pub(super) fn cluster_detail(of: &Cluster, calendar: Calendar) -> Value {
    let mut detail = cluster(of, calendar);
    if let Value::Object(fields) = &mut detail {
        fields.insert("vpcepIp".to_owned(), json!("192.168.0.203"));
    }
    detail
}

/// Returns the elements of `detailList` of one kind, as a read at `now` shows them.
pub(super) fn tasks(
    cluster: &Cluster,
    kind: Kind,
    now: SimTime,
    calendar: Calendar,
    ids: &mut Ids,
) -> Vec<Value> {
    let (tasks, as_of) = cluster.seen_tasks(now);
    let mut tasks: Vec<_> = tasks.iter().filter(|task| task.kind == kind).collect();
    tasks.sort_by_key(|task| task.start);
    match cluster.ways.order {
        Order::NewestFirst => tasks.reverse(),
        Order::OldestFirst => {}
        Order::Shuffled => ids.shuffle(&mut tasks),
    }
    tasks.into_iter().map(|shown| task(shown, as_of, &cluster.ways, calendar)).collect()
}

/// One element of `detailList`.
fn task(task: &Task, as_of: SimTime, ways: &Ways, calendar: Calendar) -> Value {
    let current = if task.hides_current_node {
        ""
    } else {
        task.current_node().unwrap_or_else(|| task.nodes.last().map_or("", String::as_str))
    };
    let batch: Vec<_> =
        task.nodes.iter().skip(task.completed).take(task.batch_size).map(String::as_str).collect();
    let mut fields = json!({
        "id": task.id,
        "startTime": calendar.write(task.start),
        "status": task.status(),
        "agencyName": task.plan.agency,
        "totalNodes": task.nodes.join(","),
        "currentNodeName": current,
        "currentNodeDetail": steps(task, as_of, calendar),
        "batchSize": task.batch_size,
        "currentBatchNodes": batch.join(","),
    });
    let Value::Object(map) = &mut fields else { return fields };
    let ended = match &task.phase {
        Phase::Running { .. } => Some(String::new()),
        Phase::Ended { at, .. } => match ways.end_time {
            EndTimeWay::Present => Some(calendar.write(*at)),
            EndTimeWay::Blank => Some(String::new()),
            EndTimeWay::Absent => None,
        },
    };
    let executions = task.execution - task.first_execution;
    let execute_times = match ways.execute_times {
        ExecuteTimesWay::Grows => Some(task.execution),
        ExecuteTimesWay::Constant => Some(task.first_execution),
        ExecuteTimesWay::GrowsByTwo => Some(task.first_execution + 2 * executions),
        ExecuteTimesWay::Absent => None,
    };
    let completed = match ways.completed_nodes {
        CompletedNodesWay::Present => Some(json!(task.completed_nodes().join(","))),
        CompletedNodesWay::Absent => None,
        CompletedNodesWay::Null => Some(Value::Null),
        CompletedNodesWay::Blank => Some(json!(" ")),
    };
    let mut add = |name: &str, value: Option<Value>| value.map(|value| map.insert(name.to_owned(), value));
    add("endTime", ended.map(Value::String));
    add("executeTimes", execute_times.map(|times| json!(times.to_string())));
    add("completedNodes", completed);
    match task.kind {
        Kind::Upgrade => {
            add("imageInfo", Some(image_info(&task.plan.image_id, &task.plan.engine, &task.plan.version)));
        }
        Kind::AzSwitchover => {
            let parameters = json!({
                "instType": task.plan.instance_type,
                "migrateType": task.plan.migrate_type,
                "sourceAz": task.plan.source_az,
                "targetAz": task.plan.target_az,
            });
            add("migrateParam", Some(json!(parameters.to_string())));
            add("finalAzInfoMap", Some(json!(final_zones(task).to_string())));
        }
    }
    fields
}

/// Returns the final zone of each node.
fn final_zones(task: &Task) -> Value {
    let zones: Vec<_> = task.plan.target_az.split(',').collect();
    let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, zone) in task.nodes.iter().zip(zones.iter().cycle()) {
        map.entry(zone).or_default().push(node);
    }
    map.into_iter()
        .map(|(zone, nodes)| (zone.to_owned(), json!(nodes.join(","))))
        .collect::<Map<_, _>>()
        .into()
}

/// `currentNodeDetail`: the steps of the current node.
fn steps(task: &Task, as_of: SimTime, calendar: Calendar) -> Vec<Value> {
    let (began, worked) = task.work(as_of);
    let succeeded = task.status() == "SUCCESS";
    let mut from = Duration::ZERO;
    let mut shown = Vec::with_capacity(STEPS.len());
    for step in STEPS {
        let until = task.node_time * step.until_percent / 100;
        let status = if succeeded || worked >= until {
            "SUCCESS"
        } else if worked < from {
            "WAITING"
        } else if task.is_running() {
            "RUNNING"
        } else {
            "FAILED"
        };
        let end = match status {
            "SUCCESS" => calendar.write(began.after(until)),
            "FAILED" => calendar.write(began.after(worked)),
            _ => String::new(),
        };
        let begin = if status == "WAITING" { String::new() } else { calendar.write(began.after(from)) };
        shown.push(json!({
            "order": step.order,
            "name": step.name,
            "status": status,
            "desc": step.description,
            "beginTime": begin,
            "endTime": end,
        }));
        from = until;
    }
    shown
}

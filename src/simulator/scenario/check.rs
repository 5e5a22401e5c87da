//! Checks whether a well-written scenario is possible.

use std::collections::BTreeSet;

use super::super::steps::STEPS;
use super::{ClusterScript, Fault, On, Scenario, TaskScript, What};
use crate::model::id::{ClusterId, ProjectId};

/// Fleets are bounded, so that a typing error does not use up the memory.
const MAX_CLUSTERS: usize = 100_000;
const MAX_NODES: usize = 1_000;

pub(super) fn scenario(scenario: &Scenario) -> Result<(), String> {
    ensure(scenario.speed.is_finite() && scenario.speed > 0.0, || "speed must be above 0".to_owned())?;
    ensure(!scenario.node_time.is_zero(), || "node_time must be above 0".to_owned())?;
    ProjectId::new(&scenario.project_id).map_err(|error| error.to_string())?;
    let keys: BTreeSet<_> = scenario.key.iter().map(|key| &key.access_key).collect();
    ensure(keys.len() == scenario.key.len(), || "two keys have the same access_key".to_owned())?;
    ensure(scenario.key.iter().all(|key| !key.access_key.is_empty() && !key.secret_key.is_empty()), || {
        "a key is empty".to_owned()
    })?;
    status(scenario.ways.retry_refusal.status, "ways.retry_refusal")?;
    page("ways.list", scenario.ways.list.max_page)?;
    page("ways.tasks", scenario.ways.tasks.max_page)?;

    let clusters: usize = scenario.cluster.iter().map(|cluster| cluster.count).fold(0, usize::saturating_add);
    ensure(clusters <= MAX_CLUSTERS, || format!("{clusters} clusters are more than {MAX_CLUSTERS}"))?;
    for script in &scenario.cluster {
        cluster(script).map_err(|problem| format!("cluster {:?}: {problem}", script.name))?;
    }
    let names = scenario.cluster_names();
    ensure(names.len() == clusters, || "two clusters have the same name".to_owned())?;
    let ids: Vec<_> = scenario.cluster.iter().filter_map(|cluster| cluster.id.as_ref()).collect();
    ensure(ids.iter().collect::<BTreeSet<_>>().len() == ids.len(), || {
        "two clusters have the same id".to_owned()
    })?;

    for (index, script) in scenario.fault.iter().enumerate() {
        let known = |name: &String| names.contains(name) || scenario.cluster.iter().any(|c| c.name == *name);
        let problem = match &script.cluster {
            Some(name) if !known(name) => Err(format!("there is no cluster {name:?}")),
            _ => fault(script),
        };
        problem.map_err(|problem| format!("fault {}: {problem}", index + 1))?;
    }
    Ok(())
}

fn cluster(script: &ClusterScript) -> Result<(), String> {
    ensure(!script.name.is_empty(), || "its name is empty".to_owned())?;
    ensure(script.count > 0, || "count must be above 0".to_owned())?;
    ensure(script.id.is_none() || script.count == 1, || "a fleet cannot have one id".to_owned())?;
    if let Some(id) = &script.id {
        ClusterId::new(id).map_err(|error| error.to_string())?;
    }
    ensure((1..=MAX_NODES).contains(&script.nodes), || format!("nodes must be 1 to {MAX_NODES}"))?;
    ensure(script.deleted_at.is_none_or(|at| at > script.created), || {
        "deleted_at must be after created".to_owned()
    })?;
    if let Some(refusal) = &script.ways.retry_refusal {
        status(refusal.status, "ways.retry_refusal")?;
    }
    page("ways.tasks", script.ways.tasks.as_ref().and_then(|ways| ways.max_page))?;
    for (index, script_task) in script.task.iter().enumerate() {
        task(script, script_task).map_err(|problem| format!("task {}: {problem}", index + 1))?;
    }
    fails(script, &script.posted_fail).map_err(|problem| format!("posted_fail: {problem}"))?;
    for (index, hand) in script.by_hand.iter().enumerate() {
        let problem = if hand.at.is_some() == hand.after_reads.is_some() {
            Err("give either at or after_reads".to_owned())
        } else {
            ensure(hand.task.is_none_or(|task| (1..=script.task.len()).contains(&task)), || {
                format!("task must be 1 to {}", script.task.len())
            })
        };
        problem.map_err(|problem| format!("by_hand {}: {problem}", index + 1))?;
    }
    Ok(())
}

fn task(cluster: &ClusterScript, script: &TaskScript) -> Result<(), String> {
    ensure(script.start.is_none() || script.after_reads.is_none(), || {
        "give start or after_reads, not both".to_owned()
    })?;
    ensure(script.completed <= cluster.nodes, || format!("completed must be 0 to {}", cluster.nodes))?;
    ensure(script.status != "RUNNING" || script.completed < cluster.nodes, || {
        "it runs, but every node is completed".to_owned()
    })?;
    ensure(script.end.is_none() || script.status != "RUNNING", || "it runs, so it has no end".to_owned())?;
    ensure(script.end.is_none_or(|end| end >= script.start.unwrap_or_default()), || {
        "end must not be before start".to_owned()
    })?;
    ensure(script.execute_times > 0, || "execute_times must be above 0".to_owned())?;
    ensure((1..=cluster.nodes).contains(&script.batch_size), || {
        format!("batch_size must be 1 to {}", cluster.nodes)
    })?;
    ensure(script.node_time.is_none_or(|time| !time.is_zero()), || "node_time must be above 0".to_owned())?;
    fails(cluster, &script.fail)
}

fn fails(cluster: &ClusterScript, rules: &[super::FailRule]) -> Result<(), String> {
    for rule in rules {
        ensure((1..=cluster.nodes).contains(&rule.node), || {
            format!("fail.node must be 1 to {}, not {}", cluster.nodes, rule.node)
        })?;
        ensure(rule.execution > 0, || "fail.execution must be above 0".to_owned())?;
        ensure(STEPS.iter().any(|step| step.order == rule.step), || {
            let orders: Vec<_> = STEPS.iter().map(|step| step.order.to_string()).collect();
            format!("fail.step must be one of {}, not {}", orders.join(", "), rule.step)
        })?;
    }
    Ok(())
}

fn fault(fault: &Fault) -> Result<(), String> {
    ensure(fault.cluster.is_none() || !matches!(fault.on, On::List | On::Projects), || {
        "such a request names no cluster".to_owned()
    })?;
    ensure(fault.nth > 0, || "nth must be above 0".to_owned())?;
    ensure((0.0..=1.0).contains(&fault.probability), || "probability must be 0 to 1".to_owned())?;
    let answers = matches!(
        fault.what,
        What::Status
            | What::Busy
            | What::BadRequest
            | What::Forbidden
            | What::GatewayNotFound
            | What::Throttled
            | What::ServerError
            | What::OkWithErrCode
    );
    let written = fault.code.is_some()
        || fault.message.is_some()
        || fault.body.is_some()
        || fault.retry_after.is_some();
    ensure(answers || !written, || {
        "code, message, body and retry_after do nothing with this kind".to_owned()
    })?;
    ensure(!(fault.what.keeps_answer() && fault.taken), || {
        "with this kind the request takes effect in any case".to_owned()
    })?;
    match (fault.what, fault.status) {
        (What::Status, Some(found)) => status(found, "status"),
        (What::Status, None) => Err("status is missing".to_owned()),
        (_, Some(_)) => Err("status belongs to what = \"status\" alone".to_owned()),
        (What::Delay, None) => ensure(fault.delay.is_some(), || "delay is missing".to_owned()),
        (_, None) => Ok(()),
    }
}

fn status(found: u16, key: &str) -> Result<(), String> {
    ensure((200..=599).contains(&found), || format!("{key}: status must be 200 to 599, not {found}"))
}

fn page(key: &str, longest: Option<usize>) -> Result<(), String> {
    ensure(longest != Some(0), || format!("{key}: max_page must be above 0"))
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

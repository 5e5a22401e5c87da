//! One task in the answer for a cluster's upgrades or AZ switchovers.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{List, Loose, Object, split_names};
use crate::model::id::TaskId;
use crate::model::setup::Setup;
use crate::model::task::{CompletedNodes, Step, Task, TaskKind, TaskStatus};
use crate::model::text::shown;

/// The fields that are read.
#[derive(Deserialize)]
pub(super) struct Element<'a> {
    #[serde(borrow, default)]
    id: Loose<'a>,
    #[serde(borrow, default)]
    status: Loose<'a>,
    #[serde(borrow, default, rename = "startTime")]
    start_time: Loose<'a>,
    #[serde(borrow, default, rename = "endTime")]
    end_time: Loose<'a>,
    #[serde(borrow, default, rename = "executeTimes")]
    execute_times: Loose<'a>,
    #[serde(borrow, default, rename = "totalNodes")]
    total_nodes: List<'a>,
    #[serde(borrow, default, rename = "completedNodes")]
    completed_nodes: Loose<'a>,
    #[serde(borrow, default, rename = "currentNodeName")]
    current_node: Loose<'a>,
    #[serde(borrow, default, rename = "currentBatchNodes")]
    current_batch: List<'a>,
    #[serde(borrow, default, rename = "currentNodeDetail")]
    steps: List<'a>,
    /// Upgrades have it, AZ switchovers do not.
    #[serde(borrow, default, rename = "imageInfo")]
    image: Option<&'a RawValue>,
    /// AZ switchovers have it, upgrades do not.
    #[serde(borrow, default, rename = "migrateParam")]
    migration: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "batchSize")]
    batch_size: Loose<'a>,
}

/// The target image of an upgrade.
#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow, default)]
    id: Loose<'a>,
    #[serde(borrow, default, rename = "displayName")]
    name: Loose<'a>,
    #[serde(borrow, default, rename = "datastoreType")]
    engine: Loose<'a>,
    #[serde(borrow, default, rename = "datastoreVersion")]
    version: Loose<'a>,
}

/// From where to where an AZ switchover goes.
#[derive(Deserialize)]
struct Migration<'a> {
    #[serde(borrow, default, rename = "sourceAz")]
    from: Loose<'a>,
    #[serde(borrow, default, rename = "targetAz")]
    to: Loose<'a>,
}

impl Element<'_> {
    /// Returns its kind: by its fields, otherwise by the requested list. An API that ignores
    /// `action_mode` returns both kinds in both lists.
    fn kind(&self, asked: TaskKind) -> TaskKind {
        let is_there = |field: Option<&RawValue>| {
            let field = field.and_then(|raw| serde_json::from_str::<Loose<'_>>(raw.get()).ok());
            field.is_some_and(|field| field == Loose::Object || field.filled().is_some())
        };
        match (is_there(self.image), is_there(self.migration)) {
            (true, false) => TaskKind::Upgrade,
            (false, true) => TaskKind::AzSwitchover,
            _ => asked,
        }
    }
}

/// How it is set up: for reports alone, so unreadable parts are dropped.
fn setup(element: &Element<'_>) -> Option<Box<Setup>> {
    let text = |field: &Loose<'_>| field.filled().map(|text| Box::from(text.as_ref()));
    let mut setup = Setup { batch_size: element.batch_size.whole_number(), ..Setup::default() };
    let image = element.image.and_then(|raw| serde_json::from_str::<Object<Image<'_>>>(raw.get()).ok());
    if let Some(image) = image.and_then(|image| image.0) {
        setup.image = text(&image.id);
        setup.image_name = text(&image.name);
        setup.engine = image.engine.filled().map(|engine| engine.to_ascii_lowercase().into());
        setup.version = text(&image.version);
    }
    // An object within a text.
    let migration = element.migration.and_then(|raw| serde_json::from_str::<Loose<'_>>(raw.get()).ok());
    let within = migration.as_ref().and_then(Loose::filled);
    let within = within.as_deref().or(element.migration.map(RawValue::get));
    let migration = within.and_then(|text| serde_json::from_str::<Object<Migration<'_>>>(text).ok());
    if let Some(migration) = migration.and_then(|migration| migration.0) {
        (setup.az_from, setup.az_to) = (text(&migration.from), text(&migration.to));
    }
    let setup = setup.bounded();
    (setup != Setup::default()).then(|| Box::new(setup))
}

#[derive(Deserialize)]
struct StepElement<'a> {
    #[serde(borrow, default)]
    order: Loose<'a>,
    #[serde(borrow, default)]
    name: Loose<'a>,
    #[serde(borrow, default)]
    status: Loose<'a>,
    #[serde(borrow, default, rename = "beginTime")]
    begin_time: Loose<'a>,
    #[serde(borrow, default, rename = "endTime")]
    end_time: Loose<'a>,
}

/// Reads it, or says why it cannot be used.
pub(super) fn read(text: &str, kind: TaskKind) -> Result<Task, String> {
    if !text.starts_with('{') {
        return Err("not an object".to_owned());
    }
    let element: Element<'_> =
        serde_json::from_str(text).map_err(|_| "JSON that contradicts itself".to_owned())?;
    let mut task = of(&element, kind)?;
    if task.status.is_failure() {
        task.whole = Some(canonical(text)?);
    }
    Ok(task)
}

/// Returns the task, if it can be used and need not be kept whole.
pub(super) fn model(element: &Element<'_>, kind: TaskKind) -> Option<Task> {
    of(element, kind).ok().filter(|task| !task.status.is_failure())
}

/// Returns the task, without its whole text.
fn of(element: &Element<'_>, kind: TaskKind) -> Result<Task, String> {
    let Loose::Text(id) = &element.id else { return Err(format!("its id is {}", element.id.kind())) };
    let id = TaskId::new(id).map_err(|error| error.to_string())?;
    let kind = element.kind(kind);
    let status = TaskStatus::from(element.status.text_or_empty());
    if status == TaskStatus::Success {
        return Ok(succeeded(element, id, kind));
    }
    let steps: Option<Vec<Step>> =
        element.steps.elements().and_then(|steps| steps.iter().map(|raw| step(raw.get())).collect());
    let current_batch = element.current_batch.names();
    let completed = match completed_nodes(&element.completed_nodes) {
        // These two may show that a node is completed although completedNodes is empty. If they
        // cannot be read, nothing proves that none is.
        CompletedNodes::None if steps.is_none() => {
            CompletedNodes::Unreadable("it is empty, but currentNodeDetail has another shape".to_owned())
        }
        CompletedNodes::None if current_batch.is_none() => {
            CompletedNodes::Unreadable("it is empty, but currentBatchNodes has another shape".to_owned())
        }
        completed => completed,
    };
    Ok(Task {
        id,
        kind,
        status,
        start_time: element.start_time.time(),
        end_time: element.end_time.time(),
        execute_times: element.execute_times.whole_number(),
        total_nodes: element.total_nodes.names().unwrap_or_default().into_iter().collect(),
        completed,
        current_node: element.current_node.text_or_empty(),
        current_batch: current_batch.unwrap_or_default().into_iter().collect(),
        steps: steps.unwrap_or_default(),
        setup: setup(element),
        whole: None,
    })
}

/// Of a task that succeeded only its id and its times are needed: most tasks have succeeded.
fn succeeded(element: &Element<'_>, id: TaskId, kind: TaskKind) -> Task {
    Task {
        id,
        kind,
        status: TaskStatus::Success,
        start_time: element.start_time.time(),
        end_time: element.end_time.time(),
        execute_times: element.execute_times.whole_number(),
        total_nodes: BTreeSet::new(),
        completed: CompletedNodes::Unreadable("not read, as it succeeded".to_owned()),
        current_node: String::new(),
        current_batch: BTreeSet::new(),
        steps: Vec::new(),
        setup: None,
        whole: None,
    }
}

/// Only an exactly empty text means that no node is completed.
fn completed_nodes(field: &Loose<'_>) -> CompletedNodes {
    let Loose::Text(text) = field else { return CompletedNodes::Unreadable(field.kind().to_owned()) };
    if text.is_empty() {
        return CompletedNodes::None;
    }
    let names: BTreeSet<String> = split_names(text).into_iter().collect();
    if names.is_empty() {
        return CompletedNodes::Unreadable(format!("a text without names, {:?}", shown(text, 40)));
    }
    CompletedNodes::Some(names)
}

/// Returns a step, or nothing if it has another shape.
fn step(text: &str) -> Option<Step> {
    let step: Object<StepElement<'_>> = serde_json::from_str(text).ok()?;
    let step = step.0?;
    Some(Step {
        order: step.order.text().and_then(|order| order.trim().parse().ok()),
        name: step.name.text_or_empty(),
        status: step.status.text_or_empty(),
        begin_time: step.begin_time.time(),
        end_time: step.end_time.time(),
    })
}

/// Returns the element with all its fields in sorted order and without blanks, so that two polls of
/// the same state give the same text.
fn canonical(text: &str) -> Result<String, String> {
    // A map of serde_json is sorted as long as nothing in the build turns on its `preserve_order`;
    // a test below checks it.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "JSON that is nested too deeply".to_owned())?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::AbortDoubt;

    const SAMPLE: &str = r#"{
        "id": "b7ac4c5b-3bda-4feb-a303-eb80f4bce986", "startTime": "2023-01-05T02:23:39", "endTime": "",
        "status": "RUNNING", "agencyName": "css_test_agency",
        "imageInfo": {"id": "439b5d30-5968-45df-b088-d030a858522d", "datastoreVersion": "7.10.2", "priority": 16},
        "totalNodes": "css-test-ess-esn-1-1,css-test-ess-esn-2-1,css-test-ess-esn-3-1", "completedNodes": "",
        "currentNodeName": "css-test-ess-esn-1-1", "executeTimes": "1",
        "currentNodeDetail": [
            {"order": 0, "name": "Data migration", "status": "SUCCESS", "desc": "d",
             "beginTime": "2023-01-05T02:23:42", "endTime": "2023-01-05T02:29:51"},
            {"order": 12, "name": "Task status update", "status": "WAITING", "desc": "d", "beginTime": "", "endTime": ""}
        ]}"#;

    fn task(fields: &str) -> Task {
        read(&format!(r#"{{"id":"t-1",{fields}}}"#), TaskKind::Upgrade).unwrap()
    }

    #[test]
    fn the_published_sample_is_read() {
        let task = read(SAMPLE, TaskKind::Upgrade).unwrap();
        assert_eq!(task.id.as_str(), "b7ac4c5b-3bda-4feb-a303-eb80f4bce986");
        assert_eq!(task.status, TaskStatus::Running);
        assert_eq!(task.start_time, Some("2023-01-05T02:23:39".parse().unwrap()));
        assert_eq!(task.end_time, None);
        assert_eq!(task.execute_times, Some(1));
        assert_eq!(task.total_nodes.len(), 3);
        assert_eq!(task.completed, CompletedNodes::None);
        assert_eq!(task.current_node, "css-test-ess-esn-1-1");
        assert_eq!(task.steps.len(), 2);
        assert_eq!((task.steps[1].order, task.steps[1].status.as_str()), (Some(12), "WAITING"));
        assert_eq!(task.steps[0].end_time, Some("2023-01-05T02:29:51".parse().unwrap()));
        assert_eq!(task.whole, None, "only a failure is kept whole");
    }

    #[test]
    fn how_a_task_is_set_up_is_read_as_far_as_it_is_shown() {
        let upgrade = read(SAMPLE, TaskKind::Upgrade).unwrap().setup.unwrap();
        assert_eq!(upgrade.image.as_deref(), Some("439b5d30-5968-45df-b088-d030a858522d"));
        assert_eq!((upgrade.version.as_deref(), upgrade.az_from.as_deref()), (Some("7.10.2"), None));
        let within =
            r#""status":"RUNNING","batchSize":2,"migrateParam":"{\"sourceAz\":\"a\",\"targetAz\":\"b,c\"}""#;
        let switchover = task(within).setup.unwrap();
        assert_eq!((switchover.az_from.as_deref(), switchover.az_to.as_deref()), (Some("a"), Some("b,c")));
        assert_eq!(switchover.batch_size, Some(2));
        for odd in ["null", "[]", "7", "\"x\"", "{\"id\":{}}", "{\"id\":null}"] {
            let text =
                format!(r#""status":"RUNNING","imageInfo":{odd},"migrateParam":{odd},"batchSize":{odd}"#);
            let setup = task(&text).setup;
            assert!(setup.is_none_or(|setup| setup.image.is_none() && setup.az_to.is_none()), "{odd}");
        }
    }

    #[test]
    fn of_a_task_that_succeeded_only_what_places_it_is_read() {
        let task = task(
            r#""status":"SUCCESS","startTime":"2026-01-02T03:04:05","executeTimes":2,"completedNodes":"""#,
        );
        assert_eq!((task.status.word(), task.execute_times), ("SUCCESS", Some(2)));
        assert!(task.start_time.is_some());
        assert_eq!(task.completed.count(), None, "and nothing that could be taken for leave to abort");
        assert!(task.abortable().is_err());
    }

    #[test]
    fn only_an_exactly_empty_text_means_that_no_node_is_done() {
        assert_eq!(task(r#""completedNodes":"""#).completed, CompletedNodes::None);
        for unreadable in [
            r#""unknown":1"#,
            r#""completedNodes":null"#,
            r#""completedNodes":" ""#,
            r#""completedNodes":",""#,
            r#""completedNodes":"\u00a0""#,
            r#""completedNodes":[]"#,
            r#""completedNodes":["a"]"#,
            r#""completedNodes":{}"#,
            r#""completedNodes":0"#,
            r#""completedNodes":false"#,
            r#""CompletedNodes":"""#,
        ] {
            let completed = task(unreadable).completed;
            assert!(matches!(completed, CompletedNodes::Unreadable(_)), "{unreadable}: {completed:?}");
        }
        let names = |names: [&str; 2]| CompletedNodes::Some(names.map(str::to_owned).into());
        assert_eq!(task(r#""completedNodes":"a,b""#).completed, names(["a", "b"]));
        assert_eq!(task(r#""completedNodes":" a ,,b,a""#).completed, names(["a", "b"]));
    }

    #[test]
    fn hints_that_cannot_be_read_leave_it_open_whether_a_node_is_done() {
        for fields in [
            r#""completedNodes":"","currentBatchNodes":{"a":1}"#,
            r#""completedNodes":"","currentBatchNodes":[{"name":"a"},{"name":"b"}]"#,
            r#""completedNodes":"","currentNodeDetail":"[]""#,
            r#""completedNodes":"","currentNodeDetail":7"#,
            r#""completedNodes":"","currentNodeDetail":["SUCCESS"]"#,
        ] {
            let task = task(&format!(r#""status":"FAILED",{fields}"#));
            assert!(matches!(task.completed, CompletedNodes::Unreadable(_)), "{fields}");
            assert!(task.abortable().is_err(), "{fields}");
        }
        for fields in [
            r#""completedNodes":"","currentBatchNodes":null,"currentNodeDetail":null"#,
            r#""completedNodes":"","currentBatchNodes":"","currentNodeDetail":"""#,
            r#""completedNodes":"","totalNodes":"a,b","currentBatchNodes":"a","currentNodeDetail":[]"#,
            r#""completedNodes":"","currentNodeDetail":{"status":"FAILED"}"#,
        ] {
            let task = task(&format!(r#""status":"FAILED",{fields}"#));
            assert!(task.abortable().is_ok(), "{fields}");
        }
    }

    #[test]
    fn a_batch_with_a_name_that_is_no_node_is_a_doubt_however_it_is_written() {
        for batch in ["a;b", "a b", "a|b", "a/b", "[a]", "c", "A"] {
            let fields = format!(r#""completedNodes":"","totalNodes":"a,b","currentBatchNodes":"{batch}""#);
            let doubt = task(&format!(r#""status":"FAILED",{fields}"#)).abortable();
            assert!(matches!(doubt, Err(AbortDoubt::StrangeNode { .. })), "{batch}: {doubt:?}");
        }
    }

    #[test]
    fn a_task_in_both_lists_shows_by_itself_of_which_kind_it_is() {
        let (image, migration) = (r#""imageInfo":{"id":"i"}"#, r#""migrateParam":"{}""#);
        for asked in TaskKind::ALL {
            for (fields, kind) in [
                (image, TaskKind::Upgrade),
                (migration, TaskKind::AzSwitchover),
                (r#""imageInfo":null,"migrateParam":"""#, asked),
                (r#""imageInfo":{},"migrateParam":"{}""#, asked),
            ] {
                let read = read(&format!(r#"{{"id":"t-1","status":"FAILED",{fields}}}"#), asked).unwrap();
                assert_eq!(read.kind, kind, "{asked} {fields}");
            }
        }
    }

    #[test]
    fn several_nodes_at_once_are_seen_in_either_form() {
        for fields in [r#""currentBatchNodes":"a,b""#, r#""currentBatchNodes":["a","b"]"#] {
            assert_eq!(task(fields).current_batch.len(), 2, "{fields}");
        }
    }

    #[test]
    fn whatever_varies_is_taken() {
        for (fields, check) in [
            (
                r#""status":"PAUSED""#,
                (|t| t.status == TaskStatus::Other("PAUSED".to_owned())) as fn(&Task) -> bool,
            ),
            (r#""status":"failed""#, |t| !t.status.is_failure()),
            (r#""status":"FAILED ""#, |t| !t.status.is_failure()),
            (r#""status":null"#, |t| t.status.word().is_empty()),
            (r#""status":["FAILED"]"#, |t| t.status.word().is_empty()),
            (r#""executeTimes":3"#, |t| t.execute_times == Some(3)),
            (r#""executeTimes":"3""#, |t| t.execute_times == Some(3)),
            (r#""executeTimes":"three""#, |t| t.execute_times.is_none()),
            (r#""executeTimes":null"#, |t| t.execute_times.is_none()),
            (r#""startTime":"yesterday""#, |t| t.start_time.is_none()),
            (r#""startTime":null,"endTime":null"#, |t| t.start_time.is_none() && t.end_time.is_none()),
            (r#""totalNodes":["a","b"]"#, |t| t.total_nodes.len() == 2),
            (r#""totalNodes":null"#, |t| t.total_nodes.is_empty()),
            (r#""currentNodeName":null"#, |t| t.current_node.is_empty()),
            (r#""currentNodeDetail":[{"order":"3","status":null}]"#, |t| t.steps[0].order == Some(3)),
            (r#""migrateParam":"{\"instType\":\"ess\"}","new":{"x":[]}"#, |t| t.steps.is_empty()),
        ] {
            let task = task(fields);
            assert!(check(&task), "{fields}: {task:?}");
        }
    }

    #[test]
    fn a_failure_is_kept_whole_with_sorted_keys_and_without_blanks() {
        let one = task(r#""status":"FAILED", "z": {"b":1, "a":[ "x" ]}, "agencyName":null"#);
        let other = task(r#""agencyName":null,"z":{"a":["x"],"b":1},"status":"FAILED""#);
        assert_eq!(
            one.whole.as_deref(),
            Some(r#"{"agencyName":null,"id":"t-1","status":"FAILED","z":{"a":["x"],"b":1}}"#)
        );
        assert_eq!(one.whole, other.whole);
        assert!(task(r#""status":"PARTIAL_FAILED""#).whole.is_some());
        assert!(task(r#""status":"SUCCESS""#).whole.is_none());
    }
}

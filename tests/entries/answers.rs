//! The one way in which arbitrary bytes are tried as answers of the service: by the property test and by the fuzz targets.
#![expect(clippy::panic, reason = "a broken promise is told so")]

use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use upgrade_remediator::cloud::transport::{Request, Response, Transport, TransportError};
use upgrade_remediator::cloud::{AccessKey, Client, CloudError, Credential, Css, Delivery, Options, parse};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::id::{ClusterId, ProjectId, TaskId};
use upgrade_remediator::model::project::Limits;
use upgrade_remediator::model::task::{CompletedNodes, Task, TaskKind, TaskStatus};

use crate::clocks::ManualClock;

const SECRET: &str = "SKexample0000000000000000000000000000test";
/// What stands for the secret in an input: an answer may repeat it.
const REPEATED: &str = "@SECRET@";
const CLUSTER: &str = "4f3deec3-efa8-4598-bf91-560aad1377a3";
const STATUSES: [u16; 16] = [200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504];
/// No question asks more often than that, whatever is answered.
const MOST_REQUESTS: u32 = 1_000;

/// Answers the very first request well, so that the credential is proven, and every other one alike.
struct Alike {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    asked: Arc<AtomicU32>,
}

impl Transport for Alike {
    async fn send(&self, _: Request) -> Result<Response, TransportError> {
        let first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        let (status, headers, body) = if first {
            (200, Vec::new(), br#"{"totalSize":0,"clusters":[]}"#.to_vec())
        } else {
            (self.status, self.headers.clone(), self.body.clone())
        };
        Ok(Response { status, headers, body: Ok(body) })
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A text for people: short, in one line, without the secret.
fn told(text: &str) {
    assert!(!text.is_empty() && text.chars().count() < 4_000, "{} characters", text.len());
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(!text.contains(SECRET), "the secret is told");
}

fn told_error(error: &CloudError) {
    assert!(!error.code().is_empty());
    told(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        told(&error.to_string());
        cause = error.source();
    }
}

/// A byte for the question, a byte for the status, lines of headers, a NUL, and the body. Panics where a promise is broken.
pub(crate) fn try_answer(bytes: &[u8]) {
    let [question, status, rest @ ..] = bytes else { return };
    let (headers, body) = rest.split_at(rest.iter().position(|byte| *byte == 0).unwrap_or(0));
    let body = body.strip_prefix(&[0]).unwrap_or(body);
    let body = match std::str::from_utf8(body) {
        Ok(text) => text.replace(REPEATED, SECRET).into_bytes(),
        Err(_) => body.to_vec(),
    };
    let headers = String::from_utf8_lossy(headers).replace(REPEATED, SECRET);
    let headers = headers.lines().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let asked = Arc::new(AtomicU32::new(0));
    let key = AccessKey::new("AKEXAMPLE0000000TEST".into(), SECRET.into(), None).unwrap();
    let transport = Alike { status, headers, body: body.clone(), asked: Arc::clone(&asked) };
    let options = Options {
        endpoint: "https://css.example".to_owned(),
        project: ProjectId::new("p").unwrap().into(),
        ca_pem: None,
        proxy: None,
        request_timeout: Duration::from_secs(5),
        limits: Limits::default(),
        credential: Credential::new(key, 1),
        seed: 1,
        meter: None,
    };
    let client = Client::new(transport, options, Arc::new(ManualClock::new())).unwrap();
    let (cluster, task) = (ClusterId::new(CLUSTER).unwrap(), TaskId::new("t").unwrap());
    run(async {
        client.clusters().await.unwrap();
        match question % 5 {
            0 => match client.clusters().await {
                Ok(list) => {
                    assert_eq!(status, 200);
                    list.unusable.iter().for_each(|text| assert!(!text.contains(SECRET)));
                }
                Err(error) => told_error(&error),
            },
            1 => match client.cluster(&cluster).await {
                Ok(found) => assert!(status == 200 && found.id == cluster, "another cluster is taken for it"),
                Err(error) => told_error(&error),
            },
            kind @ (2 | 3) => {
                let kind = if kind == 2 { TaskKind::Upgrade } else { TaskKind::AzSwitchover };
                match client.tasks(&cluster, kind).await {
                    Ok((_, list)) => {
                        assert_eq!(status, 200);
                        list.tasks.iter().for_each(|task| safe(task, &body));
                    }
                    Err(error) => told_error(&error),
                }
            }
            _ => {
                let permit = client.permit().await.unwrap();
                answered(client.retry(&cluster, &task, permit).await, status, &body);
            }
        }
    });
    assert!(asked.load(Ordering::SeqCst) < MOST_REQUESTS);
    both_ways(&body);
}

/// What a PUT's answer means errs on the side of 'it may have been taken'.
fn answered(delivery: Delivery, sent: u16, body: &[u8]) {
    let answer = match delivery {
        Delivery::Sent(answer) => answer,
        Delivery::NotSent(why) => panic!("it was sent: {why}"),
    };
    let Answer { meaning, status, code, message, request_id, .. } = answer;
    let Some(status) = status else {
        assert_eq!(meaning, Meaning::Unknown);
        return told(&message);
    };
    assert_eq!(status, sent);
    for text in [code.as_deref(), request_id.as_deref(), Some(message.as_str())].into_iter().flatten() {
        assert!(!text.chars().any(char::is_control) && !text.contains(SECRET), "{text:?}");
    }
    if meaning == Meaning::Accepted {
        assert_eq!(status, 200);
        // Nothing at all, or one JSON value.
        let says_something = !body.trim_ascii().is_empty();
        assert!(
            code.is_none()
                && (!says_something
                    || serde_json::from_slice::<serde::de::IgnoredAny>(body.trim_ascii()).is_ok())
        );
    }
    // Whatever a gateway in between says of the other side tells nothing of what became of the PUT.
    if matches!(status, 500..) && code.is_none() {
        assert_eq!(meaning, Meaning::Unknown, "{status}");
    }
}

/// What may be aborted says in the answer itself that no node is completed.
fn safe(task: &Task, body: &[u8]) {
    if task.abortable().is_err() {
        return;
    }
    assert_eq!((&task.status, &task.completed), (&TaskStatus::Failed, &CompletedNodes::None));
    let answer: Value = serde_json::from_slice(body).unwrap();
    let shown = answer["detailList"].as_array().unwrap().iter().any(|element| {
        element["id"] == task.id.as_str() && element["status"] == "FAILED" && element["completedNodes"] == ""
    });
    assert!(shown, "{task:?} is taken for one without a completed node: {answer}");
}

/// The quick way to read a body and the slow one, which a blank at its beginning asks for, find the same.
fn both_ways(body: &[u8]) {
    let slow = [b" ", body].concat();
    let text = String::from_utf8_lossy(body);
    assert_eq!(parse::clusters(body), parse::clusters(&slow), "{text}");
    assert_eq!(parse::tasks(body, TaskKind::Upgrade), parse::tasks(&slow, TaskKind::Upgrade), "{text}");
}

/// Takes the bytes for `migrateParam` of a failed task, as the text that it is said to be and as any other JSON: nothing that is
/// decided by changes, but the whole of it, by which a touch of others is seen.
pub(crate) fn try_migrate_param(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let read = |parameter: Option<&Value>| {
        let mut task = serde_json::json!({
            "id": "t", "status": "FAILED", "startTime": "2026-01-02T03:04:05", "endTime": "2026-01-02T04:04:05",
            "executeTimes": "1", "totalNodes": "a,b", "completedNodes": "", "currentNodeName": "a",
            "currentNodeDetail": [{"order": 0, "name": "Data migration", "status": "FAILED"}],
        });
        if let Some(parameter) = parameter {
            task["migrateParam"] = parameter.clone();
        }
        let answer = serde_json::json!({ "totalSize": 1, "detailList": [task] }).to_string();
        let mut tasks = parse::tasks(answer.as_bytes(), TaskKind::AzSwitchover).unwrap_or_default();
        for task in &mut tasks {
            task.whole = None;
        }
        tasks
    };
    let without = read(None);
    assert_eq!(without.len(), 1);
    assert_eq!(read(Some(&Value::String(text.clone()))), without);
    if let Ok(value) = serde_json::from_str::<Value>(&text) {
        // As deep as it may be inside of a task, it cannot be read at all, and then nothing is done.
        let nested = read(Some(&value));
        assert!(nested == without || nested.is_empty(), "{text}");
    }
}

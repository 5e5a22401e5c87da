//! Whatever the service answers, and whatever is asked of the daemon over its socket: it is read or refused, soon, in
//! words that can be shown, and never taken for leave to do harm. The same entries are fuzzed (`fuzz/`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../entries/answers.rs"]
mod answers;
#[path = "../entries/control.rs"]
mod control;

use answers::{try_answer, try_migrate_param};
use control::try_request;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

/// Keys that are read somewhere, and some that are not.
const KEYS: [&str; 40] = [
    "totalSize",
    "clusters",
    "detailList",
    "id",
    "name",
    "status",
    "startTime",
    "endTime",
    "executeTimes",
    "totalNodes",
    "completedNodes",
    "currentNodeName",
    "currentBatchNodes",
    "currentNodeDetail",
    "migrateParam",
    "order",
    "beginTime",
    "desc",
    "datastore",
    "type",
    "version",
    "actions",
    "tags",
    "key",
    "value",
    "actionProgress",
    "failedReason",
    "updated",
    "errCode",
    "externalMessage",
    "error_code",
    "error_msg",
    "error",
    "code",
    "message",
    "errorCode",
    "errorMsg",
    "encoded_authorization_message",
    "details",
    "unknown",
];

const TEXTS: [&str; 24] = [
    "",
    " ",
    "FAILED",
    "PARTIAL_FAILED",
    "RUNNING",
    "SUCCESS",
    "null",
    "a",
    "a,b,c",
    ",",
    "2026-01-02T03:04:05",
    "2026-13-40T25:61:61Z",
    "1",
    "-1",
    "99999999999999999999",
    "4f3deec3-efa8-4598-bf91-560aad1377a3",
    "../..",
    "</script>",
    "\u{202e}\u{7}\n\u{1b}[31m",
    "集群",
    "@SECRET@",
    "CSS.0015",
    "APIGW.0301",
    "CSS.5013",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => select(TEXTS.to_vec()).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(select(KEYS.to_vec()), inner, 0..6).prop_map(|fields| {
                Value::Object(
                    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

/// A task, a cluster and an error as they should be; some of their fields are then others.
fn answer() -> impl Strategy<Value = Value> {
    let whole = select(vec![
        json!({ "totalSize": 1, "detailList": [{
            "id": "b7ac4c5b-3bda-4feb-a303-eb80f4bce986", "status": "FAILED", "startTime": "2026-01-02T03:04:05",
            "endTime": "2026-01-02T04:04:05", "executeTimes": "1", "totalNodes": "a,b,c", "completedNodes": "",
            "currentNodeName": "a", "currentBatchNodes": "a",
            "currentNodeDetail": [{ "order": 0, "name": "Data migration", "status": "FAILED", "beginTime": "" }],
        }]}),
        json!({ "totalSize": 1, "clusters": [{
            "id": "4f3deec3-efa8-4598-bf91-560aad1377a3", "name": "logs", "status": "200", "actions": ["UPGRADING"],
            "datastore": { "type": "elasticsearch", "version": "7.10.2" }, "tags": [{ "key": "team", "value": "search" }],
        }]}),
        json!({ "id": "4f3deec3-efa8-4598-bf91-560aad1377a3", "name": "logs", "datastore": { "type": "opensearch" } }),
        json!({ "errCode": "CSS.0015", "externalMessage": "no such cluster" }),
        json!({ "error": { "code": "APIGW.0301", "message": "wrong signature @SECRET@" } }),
        json!({}),
    ]);
    let changes =
        prop::collection::vec((any::<Index>(), select(KEYS.to_vec()), value(), any::<bool>()), 0..4);
    (whole, changes).prop_map(|(mut whole, changes)| {
        for (place, key, value, add) in changes {
            let mut objects = Vec::new();
            places(&whole, "", &mut objects);
            let chosen = &objects[place.index(objects.len())];
            let object = whole.pointer_mut(chosen).and_then(Value::as_object_mut).unwrap();
            let known: Vec<String> = object.keys().cloned().collect();
            if add || known.is_empty() {
                object.insert(key.to_owned(), value);
            } else {
                object.insert(known[place.index(known.len())].clone(), value);
            }
        }
        whole
    })
}

/// Where in it objects stand.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (key, field) in fields {
                places(field, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(elements) => {
            for (number, element) in elements.iter().enumerate() {
                places(element, &format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// A body, most often one that is nearly right.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let nearly = (answer(), any::<Option<(Index, u8, bool)>>()).prop_map(|(value, damage)| {
        let mut text = value.to_string().into_bytes();
        if let Some((place, byte, cut)) = damage {
            let at = place.index(text.len());
            if cut {
                text.truncate(at);
            } else {
                text.insert(at, byte);
            }
        }
        text
    });
    prop_oneof![
        8 => nearly,
        2 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => select(vec!["", "<html>", "null", "[]", "{", "\u{feff}{}", "{\"totalSize\":1,\"totalSize\":2}"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn headers() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "retry-after: 5",
        "retry-after: -1",
        "retry-after: 99999999999999999999",
        "retry-after: Fri, 31 Dec 1999 23:59:59 GMT",
        "date: Fri, 02 Jan 2026 03:04:05 GMT\nretry-after: Fri, 02 Jan 2026 03:05:05 GMT",
        "date: never\nx-request-id: @SECRET@\u{202e}\u{7}",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_is_read_or_refused(question: u8, status: u8, headers in headers(), body in body()) {
        let bytes = [&[question, status], headers.as_bytes(), &[0], &body].concat();
        try_answer(&bytes);
    }

    #[test]
    fn migrate_param_decides_nothing(parameter in prop_oneof![value().prop_map(|value| value.to_string()), any::<String>()]) {
        try_migrate_param(parameter.as_bytes());
    }

    #[test]
    fn any_request_is_understood_or_refused(
        verb in select(vec!["hold", "release", "holds", "status", "explain", "history", "retry-now", "abort", "reset", "x"]),
        version in 0_u32..3,
        fields in prop::collection::btree_map(
            select(vec!["scope", "for", "reason", "cluster", "task", "command", "since", "after", "force", "verb"]),
            prop_oneof![
                value(),
                Just(json!("all")),
                Just(json!({ "secs": 60, "nanos": 0 })),
                Just(json!("2026-01-02T03:04:05Z")),
                Just(json!(7)),
            ],
            0..6,
        ),
        cut: Option<Index>,
    ) {
        let mut request: Map<String, Value> = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        request.insert("verb".to_owned(), verb.into());
        let mut line = json!({ "version": version, "request": request }).to_string().into_bytes();
        if let Some(cut) = cut {
            line.truncate(cut.index(line.len()));
        }
        try_request(&line);
    }
}

/// What stands where a cluster should is shown, and no secret in it.
#[test]
fn a_secret_in_the_place_of_a_cluster_is_not_shown() {
    for element in ["\"@SECRET@\"", "\"x @SECRET@ y\"", "{\"id\":[\"@SECRET@\"]}", "7,\"@SECRET@\""] {
        // The list of clusters, and an answer of 200.
        try_answer(&[&[25, 48, 0], format!("{{\"clusters\":[{element}]}}").as_bytes()].concat());
    }
}

/// The entries go as far as they should: what is right is read, so that the tests above try more than refusals.
#[test]
fn what_is_right_gets_through() {
    let request = json!({ "version": 1, "request": { "verb": "retry-now", "cluster": "logs", "task": null, "reason": "x", "command": "1" } });
    assert!(upgrade_remediator::control::understand(request.to_string().as_bytes()).is_ok());
    let task = answer_of_one_failed_task();
    let tasks = upgrade_remediator::cloud::parse::tasks(
        task.as_bytes(),
        upgrade_remediator::model::task::TaskKind::Upgrade,
    );
    assert!(tasks.unwrap()[0].abortable().is_ok());
    try_answer(&[&[2, 0, 0], task.as_bytes()].concat());
}

fn answer_of_one_failed_task() -> String {
    json!({ "totalSize": 1, "detailList": [{
        "id": "t", "status": "FAILED", "completedNodes": "", "totalNodes": "a", "currentNodeDetail": [],
    }]})
    .to_string()
}

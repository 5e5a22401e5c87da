//! The world as a client sees it, without a socket. Signatures are switched off but for one test.

use serde_json::Value;

use super::*;
use crate::simulator::log::{Hazard, PutKind, TaskChange, lines};
use crate::simulator::scenario::{DEFAULT_PROJECT_ID, named, names};

mod by_itself;
mod wire;

struct Client {
    world: World,
    at: i64,
}

/// A world of this scenario, at its beginning. Signatures are not checked, and a node takes 10
/// seconds.
fn client(scenario: &str) -> Client {
    let text = format!("signatures = \"ignored\"\nnode_time = \"10s\"\n{scenario}");
    let scenario = Scenario::parse(&text, "test").unwrap();
    Client { world: World::new(scenario, 1, "2026-01-02T03:04:05Z".parse().unwrap()), at: 0 }
}

/// A cluster `a` with one upgrade that starts at once.
fn one_task(rest: &str) -> Client {
    client(&format!("[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"\n{rest}"))
}

impl Client {
    fn at(&mut self, seconds: i64) -> &mut Self {
        self.at = seconds * 1_000;
        self
    }

    fn send(&mut self, method: &str, path: &str, query: &[(&str, &str)], body: &str) -> SimAnswer {
        let request = SimRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
        self.world.handle(SimTime(self.at), &request)
    }

    fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Value {
        let answer = self.send("GET", path, query, "");
        let Delivery::Respond(response) = answer.delivery else { panic!("{answer:?}") };
        assert_eq!(response.status, 200, "{path}");
        serde_json::from_slice(&response.body).unwrap()
    }

    fn clusters(&mut self, query: &[(&str, &str)]) -> Value {
        self.get(&format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters"), query)
    }

    fn id(&self, name: &str) -> String {
        self.world.cluster_id(name).unwrap().to_owned()
    }

    fn path(&self, cluster: &str, rest: &str) -> String {
        format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters/{}{rest}", self.id(cluster))
    }

    /// `detailList` of upgrades of cluster `a`.
    fn upgrades(&mut self) -> Vec<Value> {
        let path = self.path("a", "/upgrade/detail");
        self.get(&path, &[("limit", "1000")])["detailList"].as_array().unwrap().clone()
    }

    /// The only upgrade of cluster `a`.
    fn upgrade(&mut self) -> Value {
        let [task] = <[Value; 1]>::try_from(self.upgrades()).unwrap();
        task
    }

    /// A PUT on a task of cluster `a`; the status and error code of the answer.
    fn put(&mut self, task: &Value, query: &[(&str, &str)]) -> (u16, Option<String>) {
        let path = self.path("a", &format!("/upgrade/{}/retry", task["id"].as_str().unwrap()));
        let answer = self.send("PUT", &path, query, "");
        let Delivery::Respond(response) = answer.delivery else { panic!("{answer:?}") };
        (response.status, response.code())
    }

    fn last_put(&self) -> PutRecord {
        self.world.puts().last().unwrap().clone()
    }

    fn post(&mut self, rest: &str, body: &str) -> (u16, Option<String>) {
        let path = self.path("a", rest);
        let answer = self.send("POST", &path, &[], body);
        let Delivery::Respond(response) = answer.delivery else { panic!("{answer:?}") };
        (response.status, response.code())
    }
}

const ABORT: &[(&str, &str)] = &[("retry_mode", "abort")];

#[test]
fn the_list_of_clusters_looks_like_the_published_sample() {
    let mut client = client("[[cluster]]\nname = \"a\"\ntags = { team = \"search\" }");
    let list = client.clusters(&[]);
    assert_eq!(list["totalSize"], 1);
    let cluster = &list["clusters"][0];
    assert_eq!(cluster["created"], "2025-12-03T03:04:05");
    assert_eq!(cluster["datastore"]["version"], "7.10.2");
    assert_eq!(cluster["status"], "200");
    assert_eq!(cluster["actions"], serde_json::json!([]));
    assert_eq!(cluster["tags"], serde_json::json!([{ "key": "team", "value": "search" }]));
    assert_eq!(cluster["instances"].as_array().unwrap().len(), 3);
    assert_eq!(cluster["instances"][0]["name"], "a-ess-esn-1-1");
    assert!(cluster.as_object().unwrap()["publicIp"].is_null());
    let detail = client.path("a", "");
    assert_eq!(client.get(&detail, &[])["name"], "a");
}

#[test]
fn a_running_upgrade_looks_like_the_published_sample() {
    let mut client = one_task("");
    let task = client.at(7).upgrade();
    let nodes = "a-ess-esn-1-1,a-ess-esn-2-1,a-ess-esn-3-1";
    for (field, expected) in [
        ("startTime", "2026-01-02T03:04:05"),
        ("endTime", ""),
        ("status", "RUNNING"),
        ("totalNodes", nodes),
        ("completedNodes", ""),
        ("currentNodeName", "a-ess-esn-1-1"),
        ("currentBatchNodes", "a-ess-esn-1-1"),
        ("executeTimes", "1"),
    ] {
        assert_eq!(task[field], expected, "{field}");
    }
    assert_eq!(task["batchSize"], 1);
    assert_eq!(task["imageInfo"]["displayName"], "7.10.2_22.5.1_1230");
    assert_eq!(task["imageInfo"]["priority"], 16);
    assert!(task.get("migrateParam").is_none());
    let steps = task["currentNodeDetail"].as_array().unwrap();
    let first = &steps[0];
    assert_eq!(
        (&first["order"], &first["name"], &first["status"]),
        (&0.into(), &"Data migration".into(), &"SUCCESS".into())
    );
    assert_eq!(
        (&first["beginTime"], &first["endTime"]),
        (&"2026-01-02T03:04:05".into(), &"2026-01-02T03:04:11".into())
    );
    assert_eq!(steps[2]["status"], "RUNNING");
    let last = steps.last().unwrap();
    assert_eq!(
        (&last["order"], &last["status"], &last["beginTime"]),
        (&12.into(), &"WAITING".into(), &"".into())
    );
}

#[test]
fn an_az_switchover_is_in_the_other_list_and_bears_json_in_strings() {
    let mut client = client(
        "[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"az-switchover\"\nsource_az = \"z1\"\ntarget_az = \"z2\"",
    );
    assert!(client.upgrades().is_empty());
    let path = client.path("a", "/upgrade/detail");
    let list = client.at(15).get(&path, &[("action_mode", "AZ_MIGRATION")]);
    let task = &list["detailList"][0];
    assert!(task.get("imageInfo").is_none());
    let parse = |field: &str| serde_json::from_str::<Value>(task[field].as_str().unwrap()).unwrap();
    assert_eq!(
        parse("migrateParam"),
        serde_json::json!({ "instType": "ess", "migrateType": "az_migrate", "sourceAz": "z1", "targetAz": "z2" })
    );
    assert_eq!(parse("finalAzInfoMap")["z2"], "a-ess-esn-1-1,a-ess-esn-2-1,a-ess-esn-3-1");
    let instances = client.clusters(&[])["clusters"][0]["instances"].clone();
    assert_eq!((&instances[0]["azCode"], &instances[1]["azCode"]), (&"z2".into(), &"z1".into()));
}

#[test]
fn lists_are_paged_by_the_first_item_and_the_limit() {
    let names = |list: &Value| -> Vec<String> {
        let clusters = list["clusters"].as_array().unwrap();
        clusters.iter().map(|cluster| cluster["name"].as_str().unwrap().to_owned()).collect()
    };
    let fleet = "[[cluster]]\nname = \"f\"\ncount = 12";
    let mut both = client(fleet);
    assert_eq!(both.clusters(&[])["totalSize"], 12);
    assert_eq!(names(&both.clusters(&[])).len(), 10, "ten is the default");
    assert_eq!(names(&both.clusters(&[("offset", "11"), ("limit", "5")])), ["f-11", "f-12"]);
    assert_eq!(names(&both.clusters(&[("start", "12")])), ["f-12"]);
    assert!(names(&both.clusters(&[("offset", "13")])).is_empty());

    let mut start = client(&format!("[ways]\npaging = \"start\"\n{fleet}"));
    assert_eq!(names(&start.clusters(&[("offset", "12")])).len(), 10, "this name is ignored");
    assert_eq!(names(&start.clusters(&[("start", "12")])), ["f-12"]);
    let mut offset = client(&format!("[ways]\npaging = \"offset\"\n{fleet}"));
    assert_eq!(names(&offset.clusters(&[("start", "12")])).len(), 10);

    for bad in [("limit", "0"), ("limit", "1001"), ("offset", "0"), ("offset", "x")] {
        let answer = both.send("GET", &format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters"), &[bad], "");
        let Delivery::Respond(response) = answer.delivery else { panic!() };
        assert_eq!((response.status, response.code().as_deref()), (400, Some("CSS.0001")), "{bad:?}");
    }
}

#[test]
fn clusters_are_filtered_by_engine() {
    let mut client = client("[[cluster]]\nname = \"a\"\n[[cluster]]\nname = \"b\"\nengine = \"logstash\"");
    assert_eq!(client.clusters(&[("datastoreType", "logstash")])["clusters"][0]["name"], "b");
    assert_eq!(client.clusters(&[("datastoreType", "")])["totalSize"], 2);
}

#[test]
fn a_retried_task_runs_on_from_the_failed_node() {
    let mut client = one_task("fail = [{ node = 2 }]");
    let failed = client.at(20).upgrade();
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(failed["endTime"], "2026-01-02T03:04:18", "in the middle of the second node's first step");
    assert_eq!(failed["completedNodes"], "a-ess-esn-1-1");
    assert_eq!(failed["currentNodeDetail"][0]["status"], "FAILED");

    assert_eq!(client.at(30).put(&failed, &[]), (200, None));
    let running = client.at(31).upgrade();
    assert_eq!((&running["status"], &running["executeTimes"]), (&"RUNNING".into(), &"2".into()));
    assert_eq!((&running["completedNodes"], &running["endTime"]), (&"a-ess-esn-1-1".into(), &"".into()));
    let done = client.at(60).upgrade();
    assert_eq!((&done["status"], &done["startTime"]), (&"SUCCESS".into(), &failed["startTime"]));
    let put = client.last_put();
    assert_eq!((put.kind, put.taken, put.is_unsafe, put.hazards.len()), (PutKind::Retry, true, false, 0));
    assert_eq!((put.status.as_str(), put.completed_nodes.len()), ("FAILED", 1));
}

#[test]
fn a_put_without_the_query_parameter_is_a_retry_whatever_its_body_says() {
    let mut client = one_task("fail = [{ node = 1 }]");
    let task = client.at(10).upgrade();
    let path = client.path("a", &format!("/upgrade/{}/retry", task["id"].as_str().unwrap()));
    client.send("PUT", &path, &[], "{\"retry_mode\":\"abort\"}");
    assert_eq!(client.last_put().kind, PutKind::Retry);
    assert_eq!(client.upgrade()["status"], "RUNNING");
}

#[test]
fn an_empty_retry_mode_is_a_retry_and_any_other_word_an_abort() {
    for (word, kind) in [("", PutKind::Retry), ("abort", PutKind::Abort), ("retry", PutKind::Abort)] {
        let mut client = one_task("fail = [{ node = 1 }]");
        let task = client.at(10).upgrade();
        assert_eq!(client.put(&task, &[("retry_mode", word)]).0, 200);
        assert_eq!(client.last_put().kind, kind, "{word:?}");
    }
}

#[test]
fn a_task_that_has_not_failed_is_not_retried() {
    let mut client = one_task("");
    let task = client.at(5).upgrade();
    assert_eq!(client.put(&task, &[]), (400, Some("CSS.5090".to_owned())));
    let put = client.last_put();
    assert_eq!((put.taken, put.hazards), (false, vec![Hazard::NotFailed]));
    client.at(40);
    assert_eq!(client.put(&task, &[]), (400, Some("CSS.5090".to_owned())), "nor one that succeeded");

    let mut other =
        one_task("[ways]\nretry_refusal = { status = 202, code = \"CSS.0011\", message = \"busy\" }");
    let task = other.upgrade();
    assert_eq!(other.put(&task, &[]), (202, Some("CSS.0011".to_owned())));
}

#[test]
fn an_unknown_task_or_cluster_is_refused_by_its_code() {
    let mut client = one_task("");
    assert_eq!(client.put(&serde_json::json!({ "id": "nobody" }), &[]), (400, Some("CSS.0082".to_owned())));
    let answer = client.send("GET", &format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters/nobody"), &[], "");
    let Delivery::Respond(response) = answer.delivery else { panic!() };
    assert_eq!((response.status, response.code().as_deref()), (403, Some("CSS.0015")));
    let answer = client.send("GET", "/v1.0/another-project/clusters", &[], "");
    let Delivery::Respond(response) = answer.delivery else { panic!() };
    assert_eq!((response.status, response.code().as_deref()), (403, Some("APIGW.0310")));
}

#[test]
fn the_gateway_knows_no_other_path_or_method() {
    let mut client = one_task("");
    let id = client.id("a");
    for (method, path) in [
        ("GET", "/".to_owned()),
        ("GET", format!("/v2.0/{DEFAULT_PROJECT_ID}/clusters")),
        ("DELETE", format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters/{id}")),
        ("POST", format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters/{id}/upgrade/x/retry")),
    ] {
        let answer = client.send(method, &path, &[], "");
        let Delivery::Respond(response) = answer.delivery else { panic!() };
        assert_eq!((response.status, response.code().as_deref()), (404, Some("APIGW.0101")), "{path}");
    }
}

#[test]
fn an_abort_of_a_failed_task_without_completed_nodes_is_safe_and_leaves_no_trace() {
    let mut client = one_task("fail = [{ node = 1 }]");
    let before = client.at(10).upgrade();
    assert_eq!(client.put(&before, ABORT), (200, None));
    assert_eq!(client.at(60).upgrade(), before);
    let put = client.last_put();
    assert_eq!((put.kind, put.taken, put.is_unsafe, put.hazards.len()), (PutKind::Abort, true, false, 0));
    assert_eq!(client.world.state()["clusters"][0]["tasks"][0]["terminated"], true);
}

#[test]
fn an_unsafe_abort_is_not_refused_but_recorded() {
    let mut completed = one_task("fail = [{ node = 2 }]");
    let task = completed.at(20).upgrade();
    assert_eq!(completed.put(&task, ABORT).0, 200);
    let put = completed.last_put();
    assert_eq!((put.taken, put.is_unsafe, put.hazards), (true, true, vec![Hazard::NodeCompleted]));

    let mut running = one_task("");
    let task = running.at(5).upgrade();
    assert_eq!(running.put(&task, ABORT).0, 200);
    let put = running.last_put();
    assert_eq!((put.taken, put.is_unsafe, put.hazards), (false, true, vec![Hazard::NotFailed]));
    assert_eq!(running.upgrade()["status"], "RUNNING", "what runs cannot be stopped");

    let mut partial = one_task("fail = [{ node = 1, status = \"PARTIAL_FAILED\" }]");
    let task = partial.at(20).upgrade();
    partial.put(&task, ABORT);
    assert!(partial.last_put().is_unsafe);
}

#[test]
fn what_is_dangerous_about_a_retry_is_recorded() {
    let mut client = one_task(
        "start = \"-2h\"\nstatus = \"FAILED\"\n[[cluster.task]]\nkind = \"upgrade\"\nfail = [{ node = 1 }]",
    );
    let tasks = client.at(1).upgrades();
    assert_eq!(tasks[0]["status"], "RUNNING", "the newest first");
    assert_eq!(client.put(&tasks[1], &[]), (400, Some("CSS.0078".to_owned())));
    assert_eq!(client.last_put().hazards, [Hazard::NotNewest, Hazard::AnotherRuns]);

    client.at(10);
    assert_eq!(client.put(&tasks[0], ABORT).0, 200);
    assert_eq!(client.put(&tasks[1], &[]).0, 200);
    let put = client.last_put();
    assert_eq!((put.taken, put.hazards), (true, vec![Hazard::NotNewest]));

    let mut again = one_task("fail = [{ node = 1 }]");
    let task = again.at(10).upgrade();
    again.put(&task, ABORT);
    again.put(&task, &[]);
    assert_eq!(again.last_put().hazards, [Hazard::AfterTermination]);
}

#[test]
fn an_upgrade_is_started_where_nothing_runs() {
    let mut client = client("[[cluster]]\nname = \"a\"\nversion = \"7.6.2\"\nposted_fail = [{ node = 1 }]");
    let images = client.path("a", "/target/cross/images");
    let images = client.get(&images, &[]);
    assert_eq!((&images["totalSize"], &images["needUploadUpgradePlugin"]), (&1.into(), &false.into()));
    let image = images["imageInfoList"][0]["id"].as_str().unwrap().to_owned();
    let body = |image: &str| {
        format!(
            r#"{{"target_image_id":"{image}","upgrade_type":"cross","indices_backup_check":true,"agency":"css-test-agency","cluster_load_check":true}}"#
        )
    };
    let start = "/inst-type/all/image/upgrade";
    assert_eq!(client.post(start, &body("another")), (400, Some("CSS.0001".to_owned())));
    assert_eq!(client.post(start, "{}"), (400, Some("CSS.0001".to_owned())));
    assert_eq!(
        client.post("/inst-type/ess/image/upgrade", &body(&image)),
        (400, Some("CSS.0001".to_owned()))
    );
    assert_eq!(client.post(start, &body(&image)), (200, None));
    assert_eq!(client.post(start, &body(&image)), (400, Some("CSS.0078".to_owned())), "one at a time");

    let task = client.at(10).upgrade();
    assert_eq!((&task["status"], &task["agencyName"]), (&"FAILED".into(), &"css-test-agency".into()));
    client.put(&task, &[]);
    assert_eq!(
        client.clusters(&[])["clusters"][0]["datastore"]["version"],
        "7.6.2",
        "the old one until success"
    );
    assert_eq!(client.at(60).clusters(&[])["clusters"][0]["datastore"]["version"], "7.10.2");
}

#[test]
fn an_az_switchover_is_started_where_nothing_runs() {
    let mut client = client("[[cluster]]\nname = \"a\"");
    let body =
        r#"{"source_az":"cn-north-4a","target_az":"cn-north-4c","migrate_type":"az_migrate","agency":"g"}"#;
    assert_eq!(client.post("/inst-type/all/azmigrate", body), (200, None));
    assert_eq!(client.post("/inst-type/all/azmigrate", body), (400, Some("CSS.0078".to_owned())));
    assert_eq!(client.post("/inst-type/some/azmigrate", body), (400, Some("CSS.0001".to_owned())));
    let path = client.path("a", "/upgrade/detail");
    let mode = [("action_mode", "AZ_MIGRATION")];
    assert_eq!(client.at(40).get(&path, &mode)["detailList"][0]["status"], "SUCCESS");
}

#[test]
fn a_project_is_found_by_the_name_of_its_region() {
    let mut client = client("region = \"eu-west-101\"");
    let found = client.get("/v3/projects", &[("name", "eu-west-101")]);
    assert_eq!(found["projects"][0]["id"], DEFAULT_PROJECT_ID);
    assert_eq!(client.get("/v3/projects", &[("name", "cn-north-1")])["projects"], serde_json::json!([]));
}

#[test]
fn a_bad_signature_never_reaches_the_service() {
    let scenario = Scenario::parse("[[cluster]]\nname = \"a\"", "test").unwrap();
    let world = World::new(scenario, 1, "2026-01-02T03:04:05Z".parse().unwrap());
    let mut client = Client { world, at: 0 };
    let answer = client.send("GET", &format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters"), &[], "");
    let Delivery::Respond(response) = answer.delivery else { panic!() };
    assert_eq!((response.status, response.code().as_deref()), (401, Some("APIGW.0301")));
    let [entry] = client.world.log() else { panic!("one line") };
    let Record::Request(request) = &entry.record else { panic!() };
    assert_eq!(
        (request.signature, request.taken, request.answer.status),
        (Verdict::Missing, false, Some(401))
    );
}

#[test]
fn the_log_is_json_lines_that_can_be_read_back() {
    let mut client = one_task("fail = [{ node = 1 }]");
    let task = client.at(10).upgrade();
    client.put(&task, ABORT);
    let text = lines(client.world.log());
    let read: Vec<LogEntry> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, client.world.log());
    assert!(read.iter().enumerate().all(|(index, entry)| entry.number == index as u64 + 1));
    let put: Value = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| !line["put"].is_null())
        .unwrap();
    assert_eq!(
        (&put["event"], &put["operation"], &put["taken"]),
        (&"request".into(), &"abort".into(), &true.into())
    );
    assert_eq!((&put["put"]["unsafe"], &put["put"]["status"]), (&false.into(), &"FAILED".into()));
    let changes: Vec<_> = read
        .iter()
        .filter_map(|entry| match &entry.record {
            Record::Task(task) => Some((entry.at.0, task.change.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(
        changes,
        [
            (0, TaskChange::Appeared),
            (3_000, TaskChange::Ended("FAILED".to_owned())),
            (10_000, TaskChange::Terminated)
        ]
    );
}

/// Every shipped scenario, for an hour, by a client that polls everything and retries failed tasks.
fn play(name: &str, seed: u64) -> String {
    let mut scenario = named(name).unwrap();
    scenario.signatures = Signatures::Ignored;
    let mut client =
        Client { world: World::new(scenario, seed, "2026-01-02T03:04:05Z".parse().unwrap()), at: 0 };
    let clusters: Vec<_> = client.world.clusters.iter().take(12).map(|cluster| cluster.id.clone()).collect();
    for minute in 0..20 {
        client.at(minute * 60);
        client.send("GET", &format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters"), &[], "");
        for id in &clusters {
            let path = format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters/{id}/upgrade");
            let answer = client.send("GET", &format!("{path}/detail"), &[], "");
            let Delivery::Respond(response) = answer.delivery else { continue };
            let Ok(list) = serde_json::from_slice::<Value>(&response.body) else { continue };
            for task in list["detailList"].as_array().into_iter().flatten() {
                if task["status"] == "FAILED" {
                    client.send("PUT", &format!("{path}/{}/retry", task["id"].as_str().unwrap()), &[], "");
                }
            }
        }
    }
    lines(client.world.log())
}

#[test]
fn equal_seeds_and_equal_calls_give_equal_runs() {
    for name in names() {
        let run = play(name, 7);
        assert_eq!(run, play(name, 7), "{name}");
        assert_ne!(run, play(name, 8), "{name}");
    }
}

#[test]
fn the_demo_tells_its_five_stories_in_well_under_forty_seconds() {
    let mut scenario = named("demo").unwrap();
    scenario.signatures = Signatures::Ignored;
    let mut client =
        Client { world: World::new(scenario, 1, "2026-01-02T03:04:05Z".parse().unwrap()), at: 0 };
    let mut retries = std::collections::BTreeMap::<String, u32>::new();
    for second in 1..=25 {
        client.at(second);
        client.world.advance(SimTime(client.at));
        let state = client.world.state();
        for cluster in state["clusters"].as_array().unwrap() {
            let (name, task) = (cluster["name"].as_str().unwrap(), &cluster["tasks"][0]);
            let used = retries.entry(name.to_owned()).or_default();
            if task["status"] == "FAILED" && *used < 3 {
                *used += 1;
                let path = client.path(name, &format!("/upgrade/{}/retry", task["id"].as_str().unwrap()));
                client.send("PUT", &path, &[], "");
            }
        }
    }
    let state = client.world.state();
    let ends: Vec<_> = state["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| {
            let (name, task) = (cluster["name"].as_str().unwrap(), &cluster["tasks"][0]);
            let completed = task["completed_nodes"].as_array().unwrap().len();
            (name, task["status"].as_str().unwrap(), completed, retries[name])
        })
        .collect();
    assert_eq!(
        ends,
        [
            ("second-retry", "SUCCESS", 3, 2),
            ("exhausted-abort", "FAILED", 0, 3),
            ("node-completed", "FAILED", 1, 3),
            ("az-switchover", "SUCCESS", 3, 1),
            ("lost-answer", "SUCCESS", 3, 1),
        ]
    );
}

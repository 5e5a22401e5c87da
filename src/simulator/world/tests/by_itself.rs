//! Changes without a request, and how the API shows them.

use super::*;

fn log_of_hands(client: &Client) -> Vec<(i64, PutKind, bool)> {
    let hands = client.world.log().iter().filter_map(|entry| match &entry.record {
        Record::ByHand(put) => Some((entry.at.0, put.kind, put.taken)),
        _ => None,
    });
    hands.collect()
}

#[test]
fn a_task_with_a_past_has_lived_it() {
    let mut client = one_task("start = \"-25s\"\nfail = [{ node = 3, step = 12 }]");
    assert_eq!(client.upgrade()["completedNodes"], "a-ess-esn-1-1,a-ess-esn-2-1");
    assert_eq!(client.at(5).upgrade()["status"], "FAILED");
    assert_eq!(client.world.log()[0].at, SimTime(-25_000));
}

#[test]
fn a_task_may_have_ended_before_the_beginning() {
    let mut client =
        one_task("start = \"-2h\"\nend = \"-1h\"\nstatus = \"FAILED\"\ncompleted = 1\nexecute_times = 4");
    let task = client.upgrade();
    assert_eq!((&task["status"], &task["endTime"]), (&"FAILED".into(), &"2026-01-02T02:04:05".into()));
    assert_eq!((&task["executeTimes"], &task["completedNodes"]), (&"4".into(), &"a-ess-esn-1-1".into()));
    client.put(&task, &[]);
    assert_eq!(client.upgrade()["executeTimes"], "5");
}

#[test]
fn speed_makes_nodes_quicker() {
    let mut client = client("speed = 10.0\n[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"");
    assert_eq!(client.at(2).upgrade()["completedNodes"], "a-ess-esn-1-1,a-ess-esn-2-1");
    assert_eq!(client.at(3).upgrade()["status"], "SUCCESS");
}

#[test]
fn a_batch_is_shown() {
    let task = one_task("batch_size = 2").upgrade();
    assert_eq!(task["batchSize"], 2);
    assert_eq!(task["currentBatchNodes"], "a-ess-esn-1-1,a-ess-esn-2-1");
}

#[test]
fn a_retry_by_hand_runs_the_task_again() {
    let hand = |at| format!("[[cluster.by_hand]]\ndo = \"retry\"\nat = \"{at}s\"\n");
    let mut client = one_task(&format!("fail = [{{ node = 1 }}]\n{}{}", hand(20), hand(21)));
    assert_eq!(client.at(19).upgrade()["status"], "FAILED");
    assert_eq!(client.at(22).upgrade()["status"], "RUNNING");
    assert_eq!(client.upgrade()["executeTimes"], "2");
    assert_eq!(log_of_hands(&client), [(20_000, PutKind::Retry, true), (21_000, PutKind::Retry, false)]);
}

#[test]
fn a_termination_by_hand_leaves_what_the_scenario_says() {
    let after = |leaves: &str| {
        let mut client = one_task(&format!(
            "fail = [{{ node = 1 }}]\n[[cluster.by_hand]]\ndo = \"abort\"\nat = \"20s\"\nleaves = {leaves:?}"
        ));
        let before = client.at(19).upgrade();
        (before, client.at(21).upgrades())
    };
    let (before, nothing) = after("nothing");
    assert_eq!(nothing, [before]);
    assert!(after("vanishes").1.is_empty());
    let (mut before, field) = after("field");
    before["currentNodeName"] = "".into();
    assert_eq!(field, [before]);
    let (mut before, word) = after("TERMINATED");
    before["status"] = "TERMINATED".into();
    assert_eq!(word, [before]);
}

#[test]
fn a_hand_can_choose_an_older_task() {
    let mut client = one_task(
        "start = \"-2h\"\nstatus = \"FAILED\"\n[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-1h\"\nstatus = \"SUCCESS\"\n\
         [[cluster.by_hand]]\ndo = \"retry\"\nat = \"5s\"\ntask = 1",
    );
    let tasks = client.at(6).upgrades();
    assert_eq!((&tasks[0]["status"], &tasks[1]["status"]), (&"SUCCESS".into(), &"RUNNING".into()));
}

#[test]
fn what_an_abort_leaves_can_be_said_for_the_world_and_for_a_cluster() {
    for cluster in [
        "[ways]\nafter_abort = \"ABORTED\"\n[[cluster]]\nname = \"a\"",
        "[[cluster]]\nname = \"a\"\nways = { after_abort = \"ABORTED\" }",
    ] {
        let mut client =
            client(&format!("{cluster}\n[[cluster.task]]\nkind = \"upgrade\"\nfail = [{{ node = 1 }}]"));
        let task = client.at(10).upgrade();
        assert_eq!(client.put(&task, ABORT).0, 200);
        assert_eq!(client.upgrade()["status"], "ABORTED");
        assert_eq!(client.put(&task, &[]), (400, Some("CSS.5090".to_owned())));
    }
}

#[test]
fn a_newer_task_can_appear_right_after_a_reading() {
    let mut client = one_task(
        "start = \"-1h\"\nstatus = \"FAILED\"\n[[cluster.task]]\nkind = \"upgrade\"\nafter_reads = 2",
    );
    assert_eq!(client.at(1).upgrades().len(), 1);
    assert_eq!(client.at(2).upgrades().len(), 1, "the second reading does not show it yet");
    let tasks = client.at(3).upgrades();
    assert_eq!((tasks.len(), &tasks[0]["startTime"]), (2, &"2026-01-02T03:04:07".into()));
}

#[test]
fn a_hand_can_be_quicker_than_the_put_after_a_reading() {
    let mut client = one_task(
        "start = \"-1h\"\nstatus = \"FAILED\"\n[[cluster.by_hand]]\ndo = \"retry\"\nafter_reads = 1",
    );
    let seen = client.upgrade();
    assert_eq!(seen["status"], "FAILED");
    assert_eq!(client.put(&seen, &[]), (400, Some("CSS.5090".to_owned())));
}

#[test]
fn a_newer_task_appears_at_its_time() {
    let mut client = one_task(
        "start = \"-1h\"\nstatus = \"FAILED\"\n[[cluster.task]]\nkind = \"upgrade\"\nstart = \"5s\"",
    );
    assert_eq!(client.at(4).upgrades().len(), 1);
    assert_eq!(client.at(5).upgrades().len(), 2);
}

#[test]
fn a_deleted_cluster_leaves_the_list_and_is_then_refused() {
    let mut client = client("[[cluster]]\nname = \"a\"\ndeleted_at = \"30s\"");
    assert_eq!(client.at(29).clusters(&[])["totalSize"], 1);
    assert_eq!(client.at(30).clusters(&[])["totalSize"], 0);
    let path = client.path("a", "/upgrade/detail");
    let answer = client.send("GET", &path, &[], "");
    let Delivery::Respond(response) = answer.delivery else { panic!("{answer:?}") };
    assert_eq!((response.status, response.code().as_deref()), (403, Some("CSS.0015")));
    let deleted =
        client.world.log().iter().filter(|entry| matches!(entry.record, Record::ClusterDeleted { .. }));
    assert_eq!(deleted.count(), 1);
}

#[test]
fn a_cluster_appears_when_it_is_created() {
    let mut client = client("[[cluster]]\nname = \"a\"\ncreated = \"10s\"");
    assert_eq!(client.at(9).clusters(&[])["totalSize"], 0);
    assert_eq!(client.at(10).clusters(&[])["totalSize"], 1);
}

#[test]
fn a_stale_reading_shows_the_state_of_a_while_ago() {
    let mut client = one_task("start = \"-1m\"\nstatus = \"FAILED\"\n[cluster.ways]\nstale_for = \"10s\"");
    let failed = client.upgrade();
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(client.at(5).put(&failed, &[]).0, 200);
    assert_eq!(client.at(14).upgrade(), failed);
    assert_eq!(client.at(15).upgrade()["status"], "RUNNING");
    assert_eq!(client.put(&failed, &[]), (400, Some("CSS.5090".to_owned())), "a PUT meets the truth");
    assert_eq!(client.at(34).upgrade()["completedNodes"], "a-ess-esn-1-1");
    assert_eq!(client.at(45).upgrade()["status"], "SUCCESS");
}

#[test]
fn execute_times_behave_as_the_ways_say() {
    let shown = |way: &str| {
        let mut client = one_task(&format!("fail = [{{ node = 1 }}]\n[ways]\nexecute_times = {way:?}"));
        let first = client.at(10).upgrade();
        client.put(&first, &[]);
        let second = client.upgrade();
        [first.get("executeTimes").cloned(), second.get("executeTimes").cloned()]
    };
    let pair = |first: &str, second: &str| [Some(first.into()), Some(second.into())];
    assert_eq!(shown("grows"), pair("1", "2"));
    assert_eq!(shown("constant"), pair("1", "1"));
    assert_eq!(shown("grows-by-2"), pair("1", "3"));
    assert_eq!(shown("absent"), [None, None]);
}

#[test]
fn fields_are_missing_or_empty_as_the_ways_say() {
    let field = |way: &str, field: &str| {
        let mut client = one_task(&format!("fail = [{{ node = 2 }}]\n[ways]\n{way}"));
        client.at(30).upgrade().get(field).cloned()
    };
    assert_eq!(field("end_time = \"absent\"", "endTime"), None);
    assert_eq!(field("end_time = \"blank\"", "endTime"), Some("".into()));
    assert_eq!(field("completed_nodes = \"absent\"", "completedNodes"), None);
    assert_eq!(field("completed_nodes = \"null\"", "completedNodes"), Some(Value::Null));
    assert_eq!(field("completed_nodes = \"blank\"", "completedNodes"), Some(" ".into()));
    assert_eq!(field("completed_nodes = \"present\"", "completedNodes"), Some("a-ess-esn-1-1".into()));
}

#[test]
fn lists_lie_as_the_ways_say() {
    let list = |ways: &str| {
        let mut client = client(&format!("[ways]\n{ways}\n[[cluster]]\nname = \"f\"\ncount = 3"));
        let list = client.clusters(&[("limit", "100")]);
        (list.get("totalSize").and_then(Value::as_u64), list["clusters"].as_array().unwrap().len())
    };
    assert_eq!(list("list = { total_size = \"one-more\" }"), (Some(4), 3));
    assert_eq!(list("list = { total_size = \"one-less\" }"), (Some(2), 3));
    assert_eq!(list("list = { total_size = \"absent\" }"), (None, 3));
    assert_eq!(list("list = { left_out = 1 }"), (Some(3), 2));
    assert_eq!(list("list = { max_page = 2 }"), (Some(3), 2));
    assert_eq!(list("tasks = { left_out = 1 }"), (Some(3), 3), "the other list");

    let mut tasks = one_task("[ways]\ntasks = { left_out = 1 }");
    let path = tasks.path("a", "/upgrade/detail");
    let list = tasks.get(&path, &[]);
    assert_eq!((&list["totalSize"], &list["detailList"]), (&1.into(), &serde_json::json!([])));
}

#[test]
fn tasks_are_listed_in_the_order_of_the_ways() {
    let starts = |order: &str| {
        let task = |age| {
            format!("[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-{age}h\"\nstatus = \"SUCCESS\"\n")
        };
        let tasks = [3, 1, 7, 2, 8, 5, 4, 6].map(task).concat();
        let text = format!("[ways]\norder = {order:?}\n[[cluster]]\nname = \"a\"\n{tasks}");
        let mut client = client(&text);
        let mut read = || -> Vec<String> {
            client.upgrades().iter().map(|task| task["startTime"].as_str().unwrap().to_owned()).collect()
        };
        (read(), read())
    };
    assert!(starts("oldest-first").0.is_sorted());
    let mut newest_first = starts("newest-first").0;
    newest_first.reverse();
    assert!(newest_first.is_sorted());
    let (first, second) = starts("shuffled");
    assert_ne!(first, second);
}

#[test]
fn the_services_clock_can_be_off() {
    let mut client = one_task("[ways]\nclock_offset = \"-10m\"");
    assert_eq!(client.upgrade()["startTime"], "2026-01-02T02:54:05");
    let path = client.path("a", "");
    let answer = client.send("GET", &path, &[], "");
    let Delivery::Respond(response) = answer.delivery else { panic!("{answer:?}") };
    assert_eq!(response.header("Date"), Some("Fri, 02 Jan 2026 02:54:05 GMT"));
    assert_eq!(client.world.log().last().unwrap().wall, client.world.begin(), "the log is right");
}

#[test]
fn a_word_for_a_running_task_can_stand_in_the_list() {
    let mut client = one_task("[ways]\nrunning_action = \"UPGRADING\"");
    let cluster = client.clusters(&[])["clusters"][0].clone();
    assert_eq!((&cluster["status"], &cluster["actions"]), (&"100".into(), &serde_json::json!(["UPGRADING"])));
    let cluster = client.at(60).clusters(&[])["clusters"][0].clone();
    assert_eq!((&cluster["status"], &cluster["actions"]), (&"200".into(), &serde_json::json!([])));
}

#[test]
fn time_never_goes_back() {
    let mut client = one_task("");
    client.at(60).upgrade();
    assert_eq!(client.at(5).upgrade()["status"], "SUCCESS");
    assert_eq!(client.world.now(), SimTime(60_000));
}

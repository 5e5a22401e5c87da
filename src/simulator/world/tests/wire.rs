//! Faults of the connection.

use super::*;

/// A failed task, and these faults.
fn faulty(fault: &str) -> (Client, Value) {
    let mut client = one_task(&format!("start = \"-1h\"\nstatus = \"FAILED\"\n[[fault]]\n{fault}"));
    let id = client.world.state()["clusters"][0]["tasks"][0]["id"].clone();
    client.at(1);
    (client, serde_json::json!({ "id": id }))
}

fn retry(client: &mut Client, task: &Value) -> SimAnswer {
    let path = client.path("a", &format!("/upgrade/{}/retry", task["id"].as_str().unwrap()));
    client.send("PUT", &path, &[], "")
}

/// Returns the status of a complete answer.
fn code(answer: &SimAnswer) -> u16 {
    match &answer.delivery {
        Delivery::Respond(response) => response.status,
        other => panic!("{other:?}"),
    }
}

fn status(client: &Client) -> Value {
    client.world.state()["clusters"][0]["tasks"][0]["status"].clone()
}

fn last_request(client: &Client) -> RequestRecord {
    let mut requests = client.world.log().iter().rev().filter_map(|entry| match &entry.record {
        Record::Request(request) => Some((**request).clone()),
        _ => None,
    });
    requests.next().unwrap()
}

#[test]
fn every_kind_of_fault_answers_a_retry_in_its_way_and_takes_it_only_where_told() {
    for (fault, status_code, code, body) in [
        ("what = \"202-CSS.0011\"", 202, Some("CSS.0011"), "externalMessage"),
        ("what = \"status\"\nstatus = 503", 503, None, ""),
        (
            "what = \"status\"\nstatus = 400\ncode = \"CSS.5140\"\nmessage = \"no\"",
            400,
            Some("CSS.5140"),
            "\"no\"",
        ),
        ("what = \"status\"\nstatus = 418\nbody = \"<html>\"", 418, None, "<html>"),
        ("what = \"bad-request\"", 400, Some("CSS.0036"), "errCode"),
        ("what = \"forbidden\"", 403, Some("CSS.0015"), "errCode"),
        ("what = \"forbidden\"\ncode = \"APIGW.0302\"", 403, Some("APIGW.0302"), "error_code"),
        ("what = \"gateway-not-found\"", 404, Some("APIGW.0101"), "error_code"),
        ("what = \"throttled\"", 429, Some("APIGW.0308"), "error_code"),
        ("what = \"server-error\"", 500, Some("CSS.0005"), "errCode"),
        ("what = \"nonsense\"", 200, None, "oops"),
        ("what = \"html\"", 200, None, "<!DOCTYPE html>"),
        ("what = \"200-errCode\"", 200, Some("CSS.0036"), "errCode"),
        ("what = \"empty\"", 200, None, ""),
    ] {
        for taken in [false, true] {
            let (mut client, task) = faulty(&format!("on = \"retry\"\n{fault}\ntaken = {taken}"));
            let answer = retry(&mut client, &task);
            let Delivery::Respond(response) = answer.delivery else { panic!("{fault}") };
            assert_eq!((response.status, response.code().as_deref()), (status_code, code), "{fault}");
            let text = String::from_utf8(response.body.clone()).unwrap();
            assert!(text.contains(body), "{fault}: {text}");
            assert!(response.header("Date").is_some() && response.header("X-Request-Id").is_some());
            assert_eq!(status(&client), if taken { "RUNNING" } else { "FAILED" }, "{fault}");
            let record = last_request(&client);
            assert_eq!(
                (record.taken, record.fault, record.put.is_some()),
                (taken, Some(1), taken),
                "{fault}"
            );
            assert_eq!(record.answer.status, Some(status_code));
        }
    }
}

#[test]
fn a_connection_is_cut_before_or_after_the_request_took_effect() {
    let (mut client, task) = faulty("on = \"retry\"\nwhat = \"cut\"");
    assert_eq!(retry(&mut client, &task).delivery, Delivery::CutBefore);
    assert_eq!(status(&client), "FAILED");
    assert_eq!(code(&retry(&mut client, &task)), 200, "only once");

    let (mut client, task) = faulty("on = \"retry\"\nwhat = \"cut\"\ntaken = true");
    assert_eq!(retry(&mut client, &task).delivery, Delivery::CutAfter);
    assert_eq!(status(&client), "RUNNING");
    let record = last_request(&client);
    assert_eq!(
        (record.taken, record.answer.status, record.answer.delivery),
        (true, None, DeliveryRecord::Cut)
    );
}

#[test]
fn a_delayed_answer_is_right_and_its_effect_comes_first() {
    let (mut client, task) = faulty("on = \"retry\"\nwhat = \"delay\"\ndelay = \"40s\"");
    let answer = retry(&mut client, &task);
    assert_eq!((answer.delay, code(&answer)), (Duration::from_secs(40), 200));
    assert_eq!(status(&client), "RUNNING");
    assert_eq!(last_request(&client).answer.delay_ms, 40_000);
}

#[test]
fn a_truncated_answer_is_the_right_one_cut_in_half() {
    let (mut client, task) = faulty("on = \"any\"\nwhat = \"truncated\"\ntimes = \"always\"");
    let path = client.path("a", "/upgrade/detail");
    let answer = client.send("GET", &path, &[], "");
    let Delivery::Truncate { response, body_bytes } = answer.delivery else { panic!("{answer:?}") };
    assert_eq!(serde_json::from_slice::<Value>(&response.body).unwrap()["totalSize"], 1);
    assert_eq!(body_bytes, response.body.len() / 2);
    let answer = retry(&mut client, &task);
    let Delivery::Truncate { response, body_bytes } = answer.delivery else { panic!("{answer:?}") };
    assert_eq!((response.body.as_slice(), body_bytes), (b"{}".as_slice(), 1));
    assert_eq!(status(&client), "RUNNING");
}

#[test]
fn retry_after_is_sent_in_seconds() {
    let (mut client, task) = faulty("on = \"put\"\nwhat = \"throttled\"\nretry_after = \"1m\"");
    let answer = retry(&mut client, &task);
    let Delivery::Respond(response) = answer.delivery else { panic!("{answer:?}") };
    assert_eq!(response.header("retry-after"), Some("60"));
}

#[test]
fn a_fault_hits_the_nth_request_of_its_operation_so_often() {
    let (mut client, task) = faulty("on = \"tasks\"\nwhat = \"server-error\"\nnth = 2\ntimes = 2");
    let path = client.path("a", "/upgrade/detail");
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(code(&client.send("GET", &path, &[], "")));
        client.clusters(&[]);
    }
    assert_eq!(codes, [200, 500, 500, 200, 200]);
    assert_eq!(client.put(&task, &[]).0, 200);
}

#[test]
fn a_fault_on_one_operation_leaves_the_others_alone() {
    let (mut client, task) = faulty("on = \"abort\"\nwhat = \"server-error\"\ntimes = \"always\"");
    assert_eq!(client.put(&task, ABORT).0, 500);
    assert_eq!(client.put(&task, &[]).0, 200);
}

#[test]
fn a_fault_hits_its_cluster_or_the_members_of_its_fleet() {
    let text = "[[cluster]]\nname = \"a\"\n[[cluster]]\nname = \"f\"\ncount = 2\n";
    let codes = |of: &str| {
        let fault =
            format!("{text}[[fault]]\non = \"detail\"\nwhat = \"forbidden\"\ntimes = \"always\"\n{of}");
        let mut client = client(&fault);
        ["a", "f-1", "f-2"].map(|name| {
            let path = client.path(name, "");
            code(&client.send("GET", &path, &[], ""))
        })
    };
    assert_eq!(codes("cluster = \"a\""), [403, 200, 200]);
    assert_eq!(codes("cluster = \"f\""), [200, 403, 403]);
    assert_eq!(codes("cluster = \"f-2\""), [200, 200, 403]);
    assert_eq!(codes(""), [403; 3]);
}

#[test]
fn a_fault_lasts_for_its_time() {
    let mut client = client(
        "[[fault]]\non = \"list\"\nwhat = \"cut\"\ntimes = \"always\"\nfrom = \"10s\"\nuntil = \"20s\"",
    );
    let path = format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters");
    let mut is_cut = |at| client.at(at).send("GET", &path, &[], "").delivery == Delivery::CutBefore;
    assert_eq!([is_cut(9), is_cut(10), is_cut(19), is_cut(20)], [false, true, true, false]);
}

#[test]
fn a_fault_by_chance_hits_some() {
    let mut client =
        client("[[fault]]\non = \"list\"\nwhat = \"server-error\"\ntimes = \"always\"\nprobability = 0.5");
    let path = format!("/v1.0/{DEFAULT_PROJECT_ID}/clusters");
    let hits = (0..200).filter(|_| code(&client.send("GET", &path, &[], "")) == 500).count();
    assert!((60..=140).contains(&hits), "{hits} of 200");
}

#[test]
fn the_first_of_several_faults_decides_and_all_count() {
    let (mut client, task) = faulty(
        "on = \"retry\"\nwhat = \"forbidden\"\n[[fault]]\non = \"retry\"\nwhat = \"throttled\"\ntimes = 2",
    );
    let codes = [(); 3].map(|()| client.put(&task, &[]).0);
    assert_eq!(codes, [403, 429, 200]);
}

//! The real binary tells real receivers: Alertmanager from Debian's package, an SMTP server (aiosmtpd from a package
//! index), and servers of HTTP that keep what reaches them; over kills, too.
//!
//! Where Alertmanager's package is missing it is installed by `apt-get`, which only root can do. aiosmtpd is installed by
//! pip into a virtual environment under `target/`, which needs `python3` with `venv`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod receivers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::harness::subject;
use crate::support::{Bench, FAILED_ONCE, HALF_DONE, RETRIES, eventually, let_pass, within};
use receivers::{Alertmanager, Http, Smtp};
use serde_json::Value;
use upgrade_remediator::cloud::sign::Signable;
use upgrade_remediator::model::event::{Event, Outcome};
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::notify::channel::{Channel as _, Network, alertmanager};
use upgrade_remediator::notify::kind::Kind;
use upgrade_remediator::notify::notice::{self, About};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_SECRET_KEY};

/// Messages of one project are a minute apart.
const TWO_MESSAGES: Duration = Duration::from_secs(100);

/// A secret in a file for its owner alone, as the configuration refers to it.
fn secret(bench: &Bench, name: &str, text: &str) -> String {
    let path = bench.folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("{{ file = \"{}\" }}", path.display())
}

/// Configuration with this channel, the default one.
fn channel(bench: &Bench, keys: &str) {
    let policy = format!(
        "{RETRIES}\n[notify]\ndefault = [\"ops\"]\npage = \"https://status.example\"\n[[channel]]\nname = \"ops\"\n{keys}\n"
    );
    bench.configure(&bench.simulator.url(), &policy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_shows_a_failed_task_until_it_is_remedied() {
    let alertmanager = Alertmanager::start().await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let url = secret(&bench, "alertmanager", &alertmanager.url);
    channel(&bench, &format!("type = \"alertmanager\"\nurl = {url}"));
    // In dry-run it stays failed.
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    let mut daemon = bench.daemon();
    let alert = within(TWO_MESSAGES, "the alert", || {
        let alerts = alertmanager.alerts();
        alerts.into_iter().find(|alert| alert["labels"]["alertname"] == "UpgradeTaskFailed")
    })
    .await;
    assert_eq!(alert["labels"]["severity"], "warning");
    assert_eq!(alert["labels"]["project"], "test");
    assert_eq!(alert["labels"]["cluster"], "logs");
    assert_eq!(alert["status"]["state"], "active");
    let told = alert["annotations"].to_string();
    let explain = format!("upgrade-remediator --config {} explain", bench.config().display());
    assert!(told.contains("FAILED at") && told.contains(&explain), "{told}");
    assert!(
        alert["generatorURL"].as_str().unwrap().starts_with("https://status.example/clusters/"),
        "{alert}"
    );
    // It is resolved while the daemon is down to nobody's knowledge, and told after the next start.
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    bench.edit("mode = \"dry-run\"", "mode = \"enforce\"");
    let mut daemon = bench.daemon();
    bench.journaled("the remedy", |event| matches!(event, Event::Ended(Outcome::ResolvedByRetry))).await;
    within(TWO_MESSAGES, "the end of the alert", || {
        let alerts = alertmanager.alerts();
        alerts.iter().all(|alert| alert["labels"]["alertname"] != "UpgradeTaskFailed").then_some(())
    })
    .await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_lasts_says_what_comes_next_by_now() {
    let receiver = Http::start().await;
    let alertmanager =
        alertmanager::Alertmanager::new(&receiver.url.clone().into(), &Network::default()).unwrap();
    let subject = subject("prod", "logs");
    let at = "2026-06-01T12:00:00Z".parse().unwrap();
    let about =
        About { id: subject.cluster.clone(), name: "logs".to_owned(), task: Some(subject.task.clone()) };
    let told = notice::of_project(Kind::FirstFailure, at, "prod", "failure 1".to_owned(), None);
    let next = "retry at 2026-06-01 12:02:00 UTC".to_owned();
    alertmanager.stands(vec![notice::Notice { cluster: Some(about), next, ..told }]);
    assert_eq!(alertmanager.lasting(), std::slice::from_ref(&subject));
    let next = "nothing while the request is blocked: on-hold: hold #3 by uid 1000 on all, until it is released: an incident";
    alertmanager.comes_next(&subject, next);
    alertmanager.repeat(at).unwrap().await.unwrap();
    assert_eq!(receiver.got()[0].json()[0]["annotations"]["next"], next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn email_arrives_with_everything_needed_to_take_over() {
    let smtp = Smtp::start().await;
    let bench = Bench::new(HALF_DONE, RETRIES).await;
    channel(
        &bench,
        &format!(
            "type = \"email\"\nhost = \"127.0.0.1\"\nport = {}\nfrom = \"Upgrades <upgrades@example.com>\"\nto = [\"ops@example.com\"]",
            smtp.port
        ),
    );
    let mut daemon = bench.daemon();
    let mail = within(TWO_MESSAGES + TWO_MESSAGES, "the email of the escalation", || {
        smtp.mails().into_iter().find(|mail| mail["text"].as_str().unwrap().contains("needs an operator"))
    })
    .await;
    let text = mail["text"].as_str().unwrap();
    let hold = format!("upgrade-remediator --config {} hold cluster:", bench.config().display());
    for part in ["Why:", "Next:", &hold, "request id", "Nodes: 1 of", "Page:  https://status.example"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(mail["subject"].as_str().unwrap().starts_with("[critical] test: "), "{mail}");
    assert_eq!(mail["to"], serde_json::json!(["ops@example.com"]));
    assert!(mail["message_id"].as_str().unwrap().ends_with("@example.com>"), "{mail}");
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_events_that_are_signed() {
    let receiver = Http::start().await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let url = secret(&bench, "url", &format!("{}/hook/canary-path-7f3a", receiver.url));
    let key = secret(&bench, "key", "canary-key-7f3a");
    channel(&bench, &format!("type = \"webhook\"\nurl = {url}\nhmac_secret = {key}"));
    let (code, out, err) = bench.runs(&["run", "--once"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let got = receiver.got();
    // The failure, and nothing of the journal that a first start makes.
    assert_eq!(got.len(), 1, "{got:?}");
    let key = Secret::from("canary-key-7f3a".to_owned());
    for request in &got {
        assert_eq!(request.path, "/hook/canary-path-7f3a");
        let expected = upgrade_remediator::notify::channel::webhook::Webhook::signature(&key, &request.body);
        assert_eq!(request.header("x-upgrade-remediator-signature"), Some(expected.as_str()));
        assert_eq!(request.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
        let event = request.json();
        assert_eq!((&event["specversion"], &event["source"]), (&"1.0".into(), &"/upgrade-remediator".into()));
        assert!(event["id"].as_str().is_some_and(|id| id.len() == 32), "{event}");
    }
    let types = || -> BTreeSet<String> {
        receiver.got().iter().map(|request| request.json()["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types(), ["upgrade-remediator.first-failure".to_owned()].into());
    // A second poll finds nothing new to tell.
    let (code, ..) = bench.runs(&["run", "--once"]).await;
    assert_eq!(code, 0);
    assert!(receiver.got().len() <= 2, "what is the same was told again");
    std::fs::remove_file(bench.journal()).unwrap();
    let (code, _, told) = bench.runs(&["run", "--once"]).await;
    assert_eq!(code, 0);
    assert!(types().contains("upgrade-remediator.new-journal"), "a journal that is gone is told of: {told}");
    assert!(told.contains("WARN the journal is gone, and a new one was created"), "{told}");
    assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_dry_run_a_message_names_the_mode_and_announces_no_request() {
    let receiver = Http::start().await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let url = secret(&bench, "url", &receiver.url);
    channel(&bench, &format!("type = \"webhook\"\nurl = {url}"));
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    let (code, out, err) = bench.runs(&["run", "--once"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let told: Vec<Value> = receiver.got().iter().map(receivers::Got::json).collect();
    let failure = told.iter().find(|event| event["type"] == "upgrade-remediator.first-failure").unwrap();
    let notice = &failure["data"]["notices"][0];
    let next = notice["next"].as_str().unwrap();
    assert!(
        next.starts_with("nothing while the request is blocked: no request is sent in dry-run; with mode = "),
        "{notice}"
    );
    let outlook = &notice["outlook"];
    assert_eq!((&outlook["phase"], &outlook["next"]), (&"failed".into(), &Value::Null));
    assert_eq!(outlook["blocked_by"][0]["ended_by"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_channel_delays_no_remedy_and_its_url_is_told_nowhere() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    // Nobody listens there.
    let url = secret(&bench, "url", "http://127.0.0.1:9/hook/canary-path-7f3a?token=canary-token-7f3a");
    channel(&bench, &format!("type = \"webhook\"\nurl = {url}"));
    let mut daemon = bench.daemon();
    bench.journaled("the remedy", |event| matches!(event, Event::Ended(Outcome::ResolvedByRetry))).await;
    eventually("the word on the channel", || {
        daemon.stderr().contains("channel ops did not accept a message").then_some(())
    })
    .await;
    let (code, out, err) = bench.runs(&["status"]).await;
    assert!(code == 0 && out.contains("channel ops (webhook): no messages sent, "), "{out}{err}");
    assert!(
        out.contains(" waiting, the oldest since ") && out.contains("has not accepted a message since "),
        "{out}"
    );
    assert!(!out.contains("canary"), "{out}");
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    assert!(!daemon.stderr().contains("canary"), "{}", daemon.stderr());
    for file in fs::read_dir(bench.folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal")) {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|part| part == b"canary"), "{}", path.display());
        }
    }
    let (code, out, _) = bench.runs(&["check"]).await;
    assert!(code == 0 && out.contains("channel.ops.url") && !out.contains("canary"), "{code} {out}");
    let (code, out, _) = bench.runs(&["doctor"]).await;
    assert!(code == 3 && out.contains("ops (webhook): ") && !out.contains("canary"), "{code} {out}");
    assert!(out.contains("notify-test ops"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_comes_as_http_200_with_a_code() {
    for (kind, good, bad) in [
        ("feishu", r#"{"code":0,"msg":"success"}"#, r#"{"code":19021,"msg":"sign match fail"}"#),
        ("dingtalk", r#"{"errcode":0,"errmsg":"ok"}"#, r#"{"errcode":310000,"errmsg":"sign not match"}"#),
        ("wecom", r#"{"errcode":0,"errmsg":"ok"}"#, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#),
        ("slack", "ok", ""),
    ] {
        let receiver = Http::start().await;
        let bench = Bench::new(FAILED_ONCE, RETRIES).await;
        let url = secret(&bench, "url", &format!("{}/send?key=canary-token-7f3a", receiver.url));
        channel(&bench, &format!("type = \"{kind}\"\nurl = {url}"));
        receiver.answer(200, good);
        let (code, out, err) = bench.runs(&["notify-test", "ops"]).await;
        assert_eq!(code, 0, "{kind}: {out}{err}");
        assert!(out.starts_with(&format!("channel ops ({kind}): the message was accepted")), "{out}");
        let (status, word) = if bad.is_empty() { (404, "no_service") } else { (200, bad) };
        receiver.answer(status, word);
        let (code, out, err) = bench.runs(&["notify-test", "ops"]).await;
        assert_eq!(code, 1, "{kind}: {out}{err}");
        let told = if bad.is_empty() { "HTTP 404: no_service" } else { "refused with code " };
        assert!(err.contains(told), "{kind}: {err}");
        assert!(!err.contains("canary"), "{err}");
        assert_eq!(receiver.got().len(), 2);
        assert!(receiver.got()[0].body_text().contains("test of the channel ops"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smn_gets_a_request_that_is_signed_like_every_other() {
    let receiver = Http::start().await;
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    channel(
        &bench,
        &format!(
            "type = \"smn\"\nproject = \"test\"\ntopic_urn = \"urn:smn:eu-west-101:6204a5bd270343b5885144cf9c8c158d:ops\"\nendpoint = \"{}\"",
            receiver.url
        ),
    );
    receiver.answer(200, r#"{"message_id":"m","request_id":"r"}"#);
    let (code, out, err) = bench.runs(&["notify-test", "ops"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let request = receiver.got().remove(0);
    let path = "/v2/6204a5bd270343b5885144cf9c8c158d/notifications/topics/urn:smn:eu-west-101:6204a5bd270343b5885144cf9c8c158d:ops/publish";
    assert_eq!(request.path, path);
    let body = request.json();
    assert_eq!(body["subject"], "(info) test of the channel ops");
    assert!(body["message"].as_str().unwrap().contains("nothing has happened"), "{body}");
    let signed = request.header("authorization").unwrap();
    assert!(signed.starts_with("SDK-HMAC-SHA256 Access="), "{signed}");
    let (_, names) = signed.split_once("SignedHeaders=").unwrap();
    let (names, _) = names.split_once(',').unwrap();
    let date = request.header("x-sdk-date").unwrap();
    let headers: Vec<(&str, &str)> = names
        .split(';')
        .filter(|name| *name != "x-sdk-date")
        .map(|name| (name, request.header(name).unwrap()))
        .collect();
    let signable =
        Signable { method: "POST", path, query: &[], headers: &headers, date, body: &request.body };
    let again = signable.authorization(
        &Secret::from(DEFAULT_ACCESS_KEY.to_owned()),
        &Secret::from(DEFAULT_SECRET_KEY.to_owned()),
    );
    assert_eq!(signed, again);
    receiver.answer(403, r#"{"code":"SMN.0013","message":"no right","request_id":"r"}"#);
    let (code, _, err) = bench.runs(&["notify-test", "ops"]).await;
    assert!(code == 1 && err.contains("SMN.0013"), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_tells_everything_and_repeats_only_under_the_same_id() {
    let receiver = Http::start().await;
    let cluster = |n: u32| {
        format!(
            "[[cluster]]\nname = \"c{n}\"\n[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-10m\"\nend = \"-1m\"\nstatus = \"FAILED\"\n"
        )
    };
    let clusters = (0..40).map(cluster).collect::<Vec<_>>().concat();
    let bench = Bench::new(&clusters, RETRIES).await;
    let url = secret(&bench, "url", &format!("{}/hook", receiver.url));
    channel(&bench, &format!("type = \"webhook\"\nurl = {url}"));
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    // The gathering takes two seconds: before, at and after it.
    for milliseconds in [300, 700, 1_900, 2_020, 2_060, 2_150, 2_400] {
        let daemon = bench.daemon();
        let_pass(Duration::from_millis(milliseconds)).await;
        daemon.kill();
    }
    let mut daemon = bench.daemon();
    let told = || {
        let mut told: BTreeMap<String, Value> = BTreeMap::new();
        for request in receiver.got() {
            let event = request.json();
            told.insert(event["id"].as_str().unwrap().to_owned(), event["data"].clone());
        }
        let mut failures: BTreeMap<String, u32> = BTreeMap::new();
        for notice in told.values().flat_map(|data| data["notices"].as_array().unwrap()) {
            if notice["kind"] == "first-failure" {
                *failures.entry(notice["cluster"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        let count = |data: &Value| data["counts"]["first-failure"].as_u64().unwrap_or(0);
        (told.values().map(count).sum::<u64>(), failures)
    };
    daemon.says("started in mode").await;
    within(TWO_MESSAGES, "all of it", || (told().0 >= 40).then_some(())).await;
    // What was repeated would come now.
    let_pass(Duration::from_secs(4)).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let (count, failures) = told();
    assert_eq!(count, 40);
    assert!(failures.len() == 40 && failures.values().all(|times| *times == 1), "{failures:?}");
}

//! `doctor`: every step is told, what is wrong comes with what to do, and nothing is ever sent that acts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{Bench, FAILED_ONCE, Process, RETRIES};

/// The steps of the project, each with its result and its text.
async fn steps(bench: &Bench) -> (i32, Vec<(String, String, String)>) {
    let (code, out, err) = bench.runs(&["doctor", "--json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let steps = found["steps"].as_array().unwrap().iter();
    let steps = steps.map(|step| {
        let told = format!("{} {}", text(step, "text"), text(step, "what_to_do"));
        (text(step, "step"), text(step, "result"), told)
    });
    (code, steps.collect())
}

fn results(steps: &[(String, String, String)]) -> Vec<(&str, &str)> {
    steps.iter().map(|(name, result, _)| (name.as_str(), result.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_is_well_is_told_step_by_step() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let (code, steps) = steps(&bench).await;
    let wanted = [
        ("name", "ok"),
        ("tcp", "ok"),
        ("tls", "note"),
        ("clock", "ok"),
        ("sign-in", "ok"),
        ("list", "ok"),
        ("detail", "ok"),
        ("retry", "note"),
        ("journal", "note"),
        ("channels", "note"),
    ];
    assert_eq!((code, results(&steps)), (0, wanted.to_vec()), "{steps:#?}");
    assert!(steps[6].2.starts_with("logs: 1 upgrade and no AZ switchovers"), "{steps:#?}");
    assert!(steps[7].2.contains("css:cluster:retryAction"), "{steps:#?}");
    assert_eq!(bench.puts(), [], "it tries no PUT");
    assert!(!bench.journal().exists(), "it makes no journal");
    let (code, out, _) = bench.runs(&["doctor"]).await;
    assert!(code == 0 && out.starts_with("project test\n  ok ") && out.ends_with("no findings\n"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_found_at_the_sign_in_and_sent_once() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let mut command = bench.command(&["doctor"]);
    command.env("TEST_SECRET_KEY", "canary-wrong");
    let mut process = Process::start(command);
    assert_eq!(process.code().await, Some(3));
    let out = process.stdout();
    assert!(out.contains("wrong      sign-in   the credential was refused: 401 APIGW.0301"), "{out}");
    assert!(out.contains("check the keys of its credentials") && out.contains("not tried  list"), "{out}");
    assert!(out.ends_with("1 finding\n") && !out.contains("canary"), "{out}");
    let signed = bench.requests().into_iter().filter(|request| request.access_key.is_some());
    assert_eq!(signed.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_told_by_how_much() {
    let bench = Bench::new(
        &format!("[ways]\nclock_offset = \"20m\"\n{FAILED_ONCE}").replace("node_time = \"200ms\"\n", ""),
        RETRIES,
    )
    .await;
    let (code, steps) = steps(&bench).await;
    assert_eq!(code, 3);
    let clock = &steps[3];
    assert_eq!((clock.0.as_str(), clock.1.as_str()), ("clock", "wrong"), "{steps:#?}");
    assert!(clock.2.contains("this machine's clock is off by 1") && clock.2.contains("behind"), "{clock:?}");
    // The refusal tells it too.
    assert!(steps[4].2.contains("this machine's clock is off by 1"), "{steps:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_is_told_at_the_step_where_it_ends() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let url = bench.simulator.url();
    bench.edit(&url, "https://css.invalid");
    let (code, told) = steps(&bench).await;
    assert_eq!(
        (code, results(&told)[0], results(&told)[1].1),
        (3, ("name", "wrong"), "not tried"),
        "{told:#?}"
    );

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    bench.edit("https://css.invalid", &format!("http://{nobody}"));
    let (_, told) = steps(&bench).await;
    assert_eq!(results(&told)[..3], [("name", "ok"), ("tcp", "wrong"), ("tls", "not tried")], "{told:#?}");

    // It listens, and speaks no TLS.
    bench.edit(&format!("http://{nobody}"), &url.replace("http://", "https://"));
    let (_, told) = steps(&bench).await;
    assert_eq!(results(&told)[1..4], [("tcp", "ok"), ("tls", "wrong"), ("clock", "not tried")], "{told:#?}");
    assert!(told[2].2.contains("does not speak TLS"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_the_unit_it_prints_the_command_that_has_its_credentials() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.edit("{ env = \"TEST_SECRET_KEY\" }", "{ credential = \"secret-key\" }");
    let (code, out, err) = bench.runs(&["doctor"]).await;
    assert_eq!(code, 3, "{out}{err}");
    for part in
        ["systemd-run --pipe", "LoadCredential", "doctor --config /", "not tried  sign-in", "ok         tcp"]
    {
        assert!(out.contains(part) || out.contains(&part.replace("LoadCredential", "Load")), "{part}: {out}");
    }
    assert_eq!(bench.requests().iter().filter(|request| request.access_key.is_some()).count(), 0);
}

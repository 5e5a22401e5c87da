//! Holds, placed and released with the real commands on a running daemon; what people see, and what stays.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::reason::Reason;

use crate::support::edited::waiting;
use crate::support::{self, ABORTS, Bench, FAILED_ONCE, RETRIES, eventually};

fn on_hold(event: &Event) -> bool {
    matches!(event, Event::Decided { reason: Reason::OnHold { .. }, .. })
}

/// A bench whose daemon has seen its failure and is kept from sending by a hold that was placed in time.
async fn held(scope: &str, policy: &str) -> (Bench, support::Process) {
    let bench = Bench::new(FAILED_ONCE, &waiting(policy, "3s")).await;
    let daemon = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    // The reconciles may begin before it listens.
    daemon.says("started in mode").await;
    let (code, out, err) = bench.runs(&["hold", scope, "--reason", "moving shards by hand"]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let release = format!("To end it: upgrade-remediator --config {} release ", bench.config().display());
    assert!(out.contains("hold #1 on") && out.contains(&release), "{out}");
    (bench, daemon)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_stops_what_is_due_and_its_release_lets_it_go_on() {
    for scope in ["all", "project:test", "cluster:logs", "logs"] {
        let (bench, daemon) = held(scope, RETRIES).await;
        bench.journaled("that it is held", on_hold).await;
        bench.looks_on(10).await;
        assert_eq!(bench.puts().len(), 0);
        daemon.says(": hold #1 on").await;
        let (code, out, _) = bench.runs(&["release", scope]).await;
        assert!(code == 0 && out.contains("released: hold #1"), "{out}");
        assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
        bench.judge();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_stops_a_pending_abort_also_over_a_restart() {
    let aborts = format!("{ABORTS}initial_interval = \"300ms\"\nmax_interval = \"300ms\"\n");
    let (bench, daemon) = held("cluster:logs", &aborts).await;
    bench.journaled("that it is held", on_hold).await;
    daemon.kill();
    let daemon = bench.daemon();
    bench.looks_on(10).await;
    assert_eq!(bench.puts().len(), 0);
    let (_, out, _) = bench.runs(&["holds", "--json"]).await;
    let holds: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&holds[0]["number"], &holds[0]["cluster_name"]), (&1.into(), &"logs".into()), "{out}");
    assert_eq!(holds[0]["by"], support::user(bench.uid()));
    bench.runs(&["release", "cluster:logs"]).await;
    let end = bench.ended(&["logs"]).await.remove("logs").unwrap();
    assert_eq!(end, "aborted");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_with_a_time_ends_by_itself() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let daemon = bench.daemon();
    eventually("the socket", || bench.socket().exists().then_some(())).await;
    let (code, out, err) = bench.runs(&["hold", "all", "--for", "2s", "--reason", "a short one"]).await;
    assert_eq!(code, 0, "{out}{err}");
    daemon.says("a hold ended: hold #1").await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    let (_, out, _) = bench.runs(&["holds"]).await;
    assert_eq!(out, "no hold is in force\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_held_or_released_is_told_why() {
    let bench = Bench::new(FAILED_ONCE, ABORTS).await;
    // A second project, with a cluster of the same name and another id.
    let twin = Bench::new(
        &format!("project_id = \"twin\"{}{FAILED_ONCE}", FAILED_ONCE.replace("logs", "first")).replace(
            "\nnode_time = \"200ms\"\n[[cluster]]\nname = \"logs\"",
            "\n[[cluster]]\nname = \"logs\"",
        ),
        ABORTS,
    )
    .await;
    bench.edit(
        "[[project]]",
        &format!(
            "[[project]]\nname = \"twin\"\nregion = \"eu-west-101\"\nproject_id = \"twin\"\n\
        endpoint = \"{}\"\ncredentials = \"test\"\n[[project]]",
            twin.simulator.url()
        ),
    );
    let _daemon = bench.daemon();
    bench.looks_on(4).await;
    twin.looks_on(4).await;
    for (arguments, code, told) in [
        (vec!["hold", "cluster:logs", "--reason", "x"], 1, "several clusters are named"),
        (vec!["hold", "cluster:nobody", "--reason", "x"], 1, "knows no cluster \"nobody\""),
        (vec!["hold", "logs", "--reason", "x"], 1, "several clusters are named"),
        (vec!["hold", "fisrt", "--reason", "x"], 1, "by name or id; did you mean \"first\"?"),
        (vec!["release", "fisrt"], 1, "did you mean \"first\"?"),
        (vec!["explain", "fisrt"], 1, "did you mean \"first\"?"),
        (vec!["retry-now", "fisrt", "--reason", "x"], 1, "did you mean \"first\"?"),
        (vec!["hold", "twin", "--reason", "x"], 1, "; for the project of that name: project:twin"),
        (vec!["hold", "ALL", "--reason", "x"], 1, "; for every cluster: all"),
        (vec!["hold", "project:nobody", "--reason", "x"], 1, "projects: test, twin"),
        (vec!["hold", "project:twni", "--reason", "x"], 1, "did you mean \"twin\"?"),
        (
            vec!["hold", "node:x", "--reason", "x"],
            1,
            "a cluster's name or id, project:NAME or all is allowed",
        ),
        (vec!["hold", "all", "--reason", " "], 1, "needs a reason"),
        (vec!["hold", "all", "--for", "0s", "--reason", "x"], 1, "longer than zero"),
        (vec!["hold", "all", "--for", "soon", "--reason", "x"], 2, "duration"),
        (vec!["hold", "all"], 2, "--reason"),
        (vec!["release", "all"], 1, "there is no hold on all; holds in force: none"),
    ] {
        let (exit, out, err) = bench.runs(&arguments).await;
        assert_eq!((exit, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
    assert!(bench.runs(&["holds"]).await.1.contains("no hold is in force"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_stack_and_what_still_holds_is_told() {
    let (bench, _daemon) = held("cluster:logs", RETRIES).await;
    let (code, out, _) =
        bench.runs(&["hold", "all", "--for", "1h", "--reason", "the whole cloud is ill"]).await;
    assert!(code == 0 && out.contains("hold #2 on all"), "{out}");
    let (_, out, _) = bench.runs(&["release", "cluster:logs"]).await;
    assert!(out.contains("released: hold #1") && out.contains("still held by: hold #2 on all"), "{out}");
    let (_, out, _) = bench.runs(&["holds"]).await;
    assert!(out.contains("#2") && out.contains("the whole cloud is ill"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    bench.looks_on(10).await;
    assert_eq!(bench.puts().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_daemon_is_down_they_say_how_to_stop_it_for_good() {
    let (bench, daemon) = held("all", RETRIES).await;
    daemon.kill();
    let (code, out, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("no daemon answers at") && err.contains("no hold was placed"), "{err}");
    assert!(err.contains("systemctl disable --now upgrade-remediator") && err.contains("dry-run"), "{err}");
    let (code, out, err) = bench.runs(&["holds"]).await;
    assert!(code == 0 && out.contains("#1") && err.contains("these holds are in the journal"), "{out}{err}");
    for order in [["release", "all"].as_slice(), &["retry-now", "logs", "--reason", "x"]] {
        let (code, out, err) = bench.runs(order).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("systemctl start upgrade-remediator") && !err.contains("disable"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_journal_nobody_takes_that_for_an_answer() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    for question in [["holds"].as_slice(), &["status"], &["explain", "logs"]] {
        let (_, _, err) = bench.runs(question).await;
        assert!(err.contains("there is no journal at"), "{question:?}: {err}");
    }
    let (code, _, err) = bench.runs(&["plan"]).await;
    assert_eq!((code, err.as_str()), (0, ""), "before the first start there is none, and that is well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_for_its_owner_and_group_alone_and_goes_with_the_daemon() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let mut daemon = bench.daemon();
    eventually("the socket", || bench.socket().exists().then_some(())).await;
    assert_eq!(std::fs::metadata(bench.socket()).unwrap().permissions().mode() & 0o777, 0o660);
    let mut second = support::Process::start(bench.command(&["run"]));
    assert_eq!(second.code().await, Some(1));
    assert!(bench.socket().exists(), "a second daemon leaves the first one's socket alone");
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    assert!(!bench.socket().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_the_socket_is_answered_and_changes_nothing() {
    let bench = Bench::new(FAILED_ONCE, ABORTS).await;
    let mut daemon = bench.daemon();
    eventually("the socket", || bench.socket().exists().then_some(())).await;
    let say = |line: &[u8]| {
        let mut stream = UnixStream::connect(bench.socket()).unwrap();
        stream.write_all(line).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for line in
        [&b"\n"[..], b"{}\n", b"\xff\xfe\n", b"{\"version\":9,\"request\":{}}\n", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let answer = say(line);
        assert!(answer.contains("refused"), "{answer}");
    }
    drop(UnixStream::connect(bench.socket()).unwrap());
    assert!(daemon.runs());
    assert!(bench.runs(&["holds"]).await.1.contains("no hold is in force"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_of_the_journal_nothing_is_aborted_again_before_somebody_confirms() {
    let bench = Bench::new(FAILED_ONCE, &waiting(ABORTS, "4s")).await;
    let mut daemon = bench.daemon();
    bench.journaled("the grace", |event| matches!(event, Event::Decided { .. })).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let backup = std::fs::read(bench.journal()).unwrap();
    let mut daemon = bench.daemon();
    bench.journaled("the abort", |event| matches!(event, Event::Ended(_))).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    std::fs::write(bench.journal(), backup).unwrap();
    let daemon = bench.daemon();
    daemon.says("the journal was restored from a backup or lost its end").await;
    bench.looks_on(30).await;
    assert_eq!(bench.puts().len(), 1);
    let (_, out, _) = bench.runs(&["holds"]).await;
    assert!(out.contains("all") && out.contains("the daemon"), "{out}");
    let (code, _, err) = bench.runs(&["release", "all"]).await;
    assert_eq!(code, 0, "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_runs_and_cannot_be_reached_is_told_from_one_that_is_down() {
    let (bench, daemon) = held("all", RETRIES).await;
    let socket = bench.socket().display().to_string();
    // As with another --config or RUNTIME_DIRECTORY: the command polls another place.
    bench.edit(&socket, &format!("{socket}.elsewhere"));
    let pid = daemon.pid();
    for order in [
        ["hold", "all", "--reason", "x"].as_slice(),
        &["release", "all"],
        &["retry-now", "logs", "--reason", "x"],
    ] {
        let (code, out, err) = bench.runs(order).await;
        assert_eq!((code, out.as_str()), (1, ""), "{order:?}");
        assert!(err.contains(&format!("a daemon runs (pid {pid};")), "{order:?}: {err}");
        assert!(
            err.contains(&format!("kill -TERM {pid}")) && !err.contains("no request is sent"),
            "{order:?}: {err}"
        );
    }
    for question in [["holds"].as_slice(), &["status"], &["explain", "logs"], &["history"]] {
        let (code, out, err) = bench.runs(question).await;
        assert!(code == 0 && !out.is_empty(), "{question:?}: {out}{err}");
        assert!(
            err.contains("may be older than the daemon's state") && !err.contains("down"),
            "{question:?}: {err}"
        );
    }
    let (_, out, _) = bench.runs(&["status", "--json"]).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["running"], true);
    daemon.kill();
    let (_, _, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert!(
        err.contains("While the daemon is down, no request is sent"),
        "a lock that nobody holds is no daemon: {err}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_was_removed_or_replaced_is_made_anew() {
    let (bench, daemon) = held("all", RETRIES).await;
    for _ in 0..2 {
        std::fs::remove_file(bench.socket()).unwrap();
        eventually("the socket", || bench.socket().exists().then_some(())).await;
    }
    let (code, out, err) = bench.runs(&["holds"]).await;
    assert!(code == 0 && out.contains("#1") && err.is_empty(), "{out}{err}");
    daemon.says("commands reach this daemon again").await;
    std::fs::remove_file(bench.socket()).unwrap();
    std::fs::write(bench.socket(), "no socket").unwrap();
    daemon.says("is not a socket; the daemon tries again").await;
    std::fs::remove_file(bench.socket()).unwrap();
    eventually("the socket", || bench.socket().exists().then_some(())).await;
    assert_eq!(bench.runs(&["release", "all"]).await.0, 0);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_sends_does_not_start_without_the_socket_it_was_given() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let socket = bench.socket().display().to_string();
    bench.edit(&socket, &format!("{socket}.nowhere/control.sock"));
    let (code, _, err) = bench.runs(&["run"]).await;
    assert_eq!(code, 1);
    assert!(
        err.contains("the control socket cannot be created") && err.contains(".nowhere/control.sock"),
        "{err}"
    );
    assert_eq!(bench.puts().len(), 0);
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    let daemon = bench.daemon();
    daemon.says("no command can reach this daemon").await;
    std::fs::create_dir(format!("{socket}.nowhere")).unwrap();
    let (code, _, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    let reached = code == 0;
    assert!(reached || err.contains("a daemon runs (pid"), "{err}");
    eventually("the socket", || {
        std::fs::metadata(format!("{socket}.nowhere/control.sock")).is_ok().then_some(())
    })
    .await;
    assert_eq!(bench.runs(&["holds"]).await.0, 0);
    daemon.signal("TERM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_cannot_be_told_whether_a_daemon_runs_nobody_says_that_nothing_is_sent() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.edit("mode = \"enforce\"", "mode = 7");
    let (code, _, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("cannot be determined") && !err.contains("no request is sent"), "{err}");
    bench.edit("mode = 7", "mode = \"enforce\"");
    // The lock is there, and is no file that can be asked.
    std::fs::write(bench.journal(), "").unwrap();
    let lock = format!("{}.lock", bench.journal().display());
    std::os::unix::fs::symlink(&lock, &lock).unwrap();
    let (code, _, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("cannot be determined by") && !err.contains("no request is sent"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_connections_open_keeps_no_order_and_no_sign_of_life_waiting() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let (_daemon, address) = bench.daemon_with_page().await;
    // Nothing is said, or the beginning of something.
    let mut silent: Vec<UnixStream> = Vec::new();
    let mut slow: Vec<std::net::TcpStream> = Vec::new();
    for number in 0..64 {
        let mut stream = UnixStream::connect(bench.socket()).unwrap();
        let mut page = std::net::TcpStream::connect(address).unwrap();
        if number % 2 == 0 {
            stream.write_all(b"{\"version\":1,").unwrap();
            page.write_all(b"GET /livez HTTP/1.1\r\nHost: ").unwrap();
        }
        silent.push(stream);
        slow.push(page);
    }
    // Waiting for their time limits, 64 of them in rounds, took longer than this.
    let order = ["hold", "all", "--reason", "x"];
    let held = tokio::time::timeout(std::time::Duration::from_secs(10), bench.runs(&order)).await;
    let (code, out, err) = held.expect("the order gets through");
    assert_eq!(code, 0, "{out}{err}");
    let alive = tokio::task::spawn_blocking(move || support::get(address, "/livez").0);
    let alive = tokio::time::timeout(std::time::Duration::from_secs(10), alive).await;
    assert_eq!(alive.expect("the probe gets through").unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_was_removed_does_not_mean_that_no_daemon_runs() {
    let (bench, _daemon) = held("all", RETRIES).await;
    let socket = bench.socket().display().to_string();
    bench.edit(&socket, &format!("{socket}.elsewhere"));
    // 'A stale lock': the daemon that held it runs on.
    std::fs::remove_file(bench.folder.path().join("journal.db.lock")).unwrap();
    let (code, out, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("cannot be determined by") && err.contains("journal.db.lock is missing"), "{err}");
    assert!(err.contains("systemctl stop") && !err.contains("no request is sent"), "{err}");
    let (_, out, err) = bench.runs(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert!(
        status["running"].is_null() && status["why"].as_str().unwrap().contains("cannot be determined"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_socket_is_turned_off_is_told_like_one_that_cannot_be_reached() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let socket = bench.socket().display().to_string();
    bench.edit(&socket, "");
    let daemon = bench.daemon();
    daemon.says("started in mode").await;
    let (code, _, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert!(code == 1 && err.contains("control.socket is \"\""), "{err}");
    assert!(
        err.contains("no hold was placed") && err.contains(&format!("kill -TERM {}", daemon.pid())),
        "{err}"
    );
    let (code, out, err) = bench.runs(&["status"]).await;
    assert!(code == 0 && out.contains("project test"), "{out}{err}");
    assert!(err.contains(&format!("pid {}", daemon.pid())), "{err}");
    daemon.kill();
    let (_, _, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert!(
        err.contains("While the daemon is down, no request is sent") && !err.contains("a daemon runs"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_without_its_socket_gets_it_later_and_is_not_led_to_send_before() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let folder = bench.folder.path().join("run");
    let socket = bench.socket().display().to_string();
    bench.edit(&socket, &folder.join("control.sock").display().to_string());
    bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    let daemon = bench.daemon();
    daemon.says("no command can reach this daemon").await;
    daemon.says("started in mode").await;
    bench.edit("mode = \"dry-run\"", "mode = \"enforce\"");
    daemon.signal("HUP");
    daemon.says("the reload was refused and the former configuration stays in force").await;
    bench.looks_on(10).await;
    assert_eq!(bench.puts().len(), 0);
    std::fs::create_dir(&folder).unwrap();
    daemon.says("commands reach this daemon").await;
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    let (code, out, err) = bench.runs(&["hold", "all", "--reason", "x"]).await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_at_the_place_of_the_socket_stops_a_daemon_that_sends_and_no_other() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let socket = bench.socket().display().to_string();
    // As long as the configuration allows, which is as long as it can be made.
    let room = 103 - bench.folder.path().as_os_str().len() - 1;
    let long = bench.folder.path().join("x".repeat(room)).display().to_string();
    // Something of somebody else's that listens, if not to this kind of talk.
    let datagrams = bench.folder.path().join("log.sock");
    let _listens = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    let datagrams = datagrams.display().to_string();
    let mut written = socket;
    for (place, why) in [(datagrams, "cannot listen at"), ("/dev/null".to_owned(), "is not a socket")] {
        bench.edit(&written, &place);
        written = place;
        let (code, _, err) = bench.runs(&["run"]).await;
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("the control socket cannot be created") && err.contains(why), "{err}");
        bench.edit("mode = \"enforce\"", "mode = \"dry-run\"");
        let daemon = bench.daemon();
        daemon.says("no command can reach this daemon").await;
        daemon.says("started in mode").await;
        daemon.kill();
        bench.edit("mode = \"dry-run\"", "mode = \"enforce\"");
    }
    assert_eq!(bench.puts().len(), 0);
    bench.edit(&written, &long);
    let daemon = bench.daemon();
    daemon.says("started in mode").await;
    assert_eq!(bench.runs(&["hold", "all", "--reason", "x"]).await.0, 0);
}

/// Says one line on the control socket, and leaves the answer to be read.
fn ask(socket: &std::path::Path, line: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_the_answer_keeps_no_order_waiting_and_cuts_nobody_off() {
    let (bench, _daemon) = held("all", RETRIES).await;
    let socket = bench.socket();
    // More holds than fit into the buffers of a connection, so that their list has to be read.
    let hold = format!(
        "{{\"version\":1,\"request\":{{\"verb\":\"hold\",\"scope\":\"project:test\",\"for\":null,\"reason\":\"{}\"}}}}\n",
        "x".repeat(500)
    );
    let answer = |mut stream: UnixStream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..700 {
        assert!(answer(ask(&socket, &hold)).contains("held"));
    }
    let holds = "{\"version\":1,\"request\":{\"verb\":\"holds\"}}\n";
    assert!(answer(ask(&socket, holds)).len() > 400_000);
    let unread: Vec<UnixStream> = (0..160).map(|_| ask(&socket, holds)).collect();
    // In rounds of time limits, 160 of them take half a minute.
    let order = ["hold", "all", "--reason", "x"];
    let held = tokio::time::timeout(std::time::Duration::from_secs(20), bench.runs(&order)).await;
    assert_eq!(held.expect("the order gets through").0, 0);
    // Whoever reads gets all of it, meanwhile too; and so does everybody of a crowd that asks at once.
    assert!(answer(ask(&socket, holds)).ends_with("}\n"));
    drop(unread);
    let crowd: Vec<UnixStream> = (0..160).map(|_| ask(&socket, &hold)).collect();
    for stream in crowd {
        assert!(answer(stream).contains("held"));
    }
}

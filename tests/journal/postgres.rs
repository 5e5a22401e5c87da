//! Connections to a real PostgreSQL: who gets one, what each refusal says, and what is known of a statement that got no good
//! answer.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_postgres::types::Type;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::journal::postgres::connect::Limits;
use upgrade_remediator::journal::postgres::link::Statement;
use upgrade_remediator::journal::postgres::{
    Connector, Kind, Link, PostgresError, PostgresOptions, PostgresUrl, ReadSecret,
};
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::model::text::chain;

use crate::server::{Authority, BEARER, DATABASE, PASSWORD, Pooler, Server, USER, fresh_name, server};

/// Nothing here is about how quick this machine is.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(30),
    whole: Duration::from_mins(1),
    statement: Duration::from_mins(1),
};

fn secret(text: &str) -> ReadSecret {
    ReadSecret::constant(Secret::from(text))
}

fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        password: Some(secret(PASSWORD)),
        ..PostgresOptions::new(PostgresUrl::parse(url).unwrap())
    }
}

fn connector(options: PostgresOptions) -> Connector {
    Connector::new(options).unwrap().with_limits(PATIENT)
}

async fn connected(url: &str) -> Link {
    connector(options(url)).connect().await.unwrap()
}

/// A connection whose statements may take no longer than this.
async fn hurried(url: &str, statement: Duration) -> Link {
    let limits = Limits { statement, ..PATIENT };
    Connector::new(options(url)).unwrap().with_limits(limits).connect().await.unwrap()
}

/// What is told, which has no secret in it.
fn told(error: &PostgresError) -> String {
    let told = chain(error);
    let all = format!("{told} {error:?}");
    assert!(!all.contains(PASSWORD) && !all.contains("wrong-password"), "{all}");
    told
}

/// What is told where no connection is had.
async fn refused(options: PostgresOptions) -> (Kind, String) {
    let error = connector(options).connect().await.unwrap_err();
    (error.kind(), told(&error))
}

async fn number(link: &mut Link, sql: &str) -> i64 {
    link.query(sql, &[]).await.unwrap()[0].get(0)
}

#[tokio::test]
async fn it_signs_in_by_password_over_loopback_and_over_tls() {
    let server = server();
    let over_tls =
        PostgresOptions { ca_file: Some(server.authority().ca_file()), ..options(&server.tls_url()) };
    for (options, encrypted) in [(options(&server.url()), false), (over_tls, true)] {
        let mut link = connector(options).connect().await.unwrap();
        let sql =
            "SELECT current_user::text, ssl, $1::bigint + 1 FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let rows = link.query(sql, &[(&41_i64, Type::INT8)]).await.unwrap();
        let row = (rows[0].get::<_, &str>(0), rows[0].get::<_, bool>(1), rows[0].get::<_, i64>(2));
        assert_eq!(row, (USER, encrypted, 42));
        assert!(link.is_usable());
    }
}

#[tokio::test]
async fn it_signs_in_over_a_unix_socket_without_tls() {
    let server = Server::start(&[("unix_socket_directories", ".")]);
    let data = server.folder().join("data").display().to_string().replace('/', "%2F");
    let url = format!("postgres://{USER}@{data}:{}/{DATABASE}", server.port());
    let mut link = connected(&url).await;
    assert_eq!(
        number(&mut link, "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND NOT ssl").await,
        1
    );
}

#[tokio::test]
async fn a_client_certificate_signs_in_without_a_password() {
    let server = server();
    let url = server.tls_url().replace(USER, BEARER);
    let authority = server.authority();
    let with = PostgresOptions {
        password: None,
        ca_file: Some(authority.ca_file()),
        client_cert: Some(authority.client_cert()),
        client_key: Some(secret(&authority.client_key())),
        ..options(&url)
    };
    let mut link = connector(with.clone()).connect().await.unwrap();
    assert_eq!(link.query("SELECT current_user::text", &[]).await.unwrap()[0].get::<_, &str>(0), BEARER);
    let (kind, told) = refused(PostgresOptions { client_cert: None, client_key: None, ..with.clone() }).await;
    assert!(kind == Kind::Refused && told.contains("journal.client_cert"), "{told}");
    // One of another CA.
    let folder = TempDir::new().unwrap();
    let foreign = Authority::new(folder.path().join("foreign"));
    let (client_cert, client_key) = (Some(foreign.client_cert()), Some(secret(&foreign.client_key())));
    let (kind, told) = refused(PostgresOptions { client_cert, client_key, ..with.clone() }).await;
    assert!(kind == Kind::Refused && told.contains("client certificate"), "{told}");
    // Half of each.
    let (kind, told) =
        refused(PostgresOptions { client_key: Some(secret(&foreign.client_key())), ..with.clone() }).await;
    assert!(kind == Kind::Refused && told.contains("journal.client_key"), "{told}");
    let (kind, told) = refused(PostgresOptions { client_key: Some(secret("wrong-password")), ..with }).await;
    assert!(kind == Kind::Refused && told.contains("journal.client_key"), "{told}");
}

#[tokio::test]
async fn each_refusal_says_who_where_and_which_key_and_never_the_password() {
    let server = server();
    let (url, tls_url) = (server.url(), server.tls_url());
    let folder = TempDir::new().unwrap();
    let foreign = Authority::new(folder.path().join("foreign")).ca_file();
    let ca_file = || Some(server.authority().ca_file());
    let closed = fresh_name();
    server.sql(
        "postgres",
        &format!("CREATE DATABASE {closed}; REVOKE CONNECT ON DATABASE {closed} FROM PUBLIC"),
    );
    let named = tls_url.replace("127.0.0.1", "localhost");
    for (options, parts) in [
        (
            PostgresOptions { password: Some(secret("wrong-password")), ..options(&url) },
            vec!["28P01", "journal.password", USER, DATABASE],
        ),
        (PostgresOptions { password: None, ..options(&url) }, vec!["journal.password", "password missing"]),
        (options(&url.replace(USER, "nobody")), vec!["28P01", "\"nobody\"", "journal.url"]),
        (options(&url.replace("/journal?", "/nothing?")), vec!["3D000", "\"nothing\"", "journal.url"]),
        (options(&url.replace("/journal?", &format!("/{closed}?"))), vec!["42501", "grant CONNECT"]),
        // It signs in over TLS only.
        (options(&url.replace(USER, BEARER)), vec!["does not accept the user", BEARER]),
        (options(&tls_url), vec!["certificate", "journal.ca_file"]),
        (
            PostgresOptions { ca_file: Some(foreign), ..options(&tls_url) },
            vec!["certificate", "journal.ca_file"],
        ),
        (PostgresOptions { ca_file: ca_file(), ..options(&named) }, vec!["other names", "journal.url"]),
        (
            PostgresOptions { ca_file: Some("/nothing.pem".into()), ..options(&tls_url) },
            vec!["/nothing.pem", "journal.ca_file"],
        ),
        (
            PostgresOptions {
                password: Some(ReadSecret::new(|| Err("no such credential".into()))),
                ..options(&url)
            },
            vec!["journal.password", "no such credential"],
        ),
    ] {
        let of = options.url.to_string();
        let (kind, told) = refused(options).await;
        assert_eq!(kind, Kind::Refused, "{of}: {told}");
        for part in parts {
            assert!(told.contains(part), "{of}: {part}: {told}");
        }
    }
}

#[tokio::test]
async fn a_password_is_read_anew_at_each_connection() {
    let server = server();
    let user = fresh_name();
    server.sql("postgres", &format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'"));
    let now = std::sync::Arc::new(std::sync::Mutex::new(PASSWORD));
    let read = std::sync::Arc::clone(&now);
    let password = ReadSecret::new(move || Ok(Secret::from(*read.lock().unwrap())));
    let options = PostgresOptions { password: Some(password), ..options(&server.url().replace(USER, &user)) };
    let connector = connector(options);
    connector.connect().await.unwrap();
    server.sql("postgres", &format!("ALTER ROLE {user} PASSWORD 'rotated'"));
    assert_eq!(connector.connect().await.unwrap_err().kind(), Kind::Refused);
    *now.lock().unwrap() = "rotated";
    connector.connect().await.unwrap();
}

#[tokio::test]
async fn a_warning_makes_a_statement_unsure_and_a_notice_does_not() {
    let mut link = connected(&server().url()).await;
    link.batch("DO $$ BEGIN RAISE NOTICE 'all is well'; END $$").await.unwrap();
    assert!(link.is_usable());
    let error = link.query("DO $$ BEGIN RAISE WARNING 'careful'; END $$", &[]).await.unwrap_err();
    let told = told(&error);
    assert!(error.kind() == Kind::Unsure && told.contains("careful") && told.contains("01000"), "{told}");
    assert!(!link.is_usable(), "such a connection is thrown away");
    let error = link.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotKept, "nothing goes over it any more");
}

#[tokio::test]
async fn what_the_server_warns_of_while_it_signs_in_is_no_warning_of_a_statement() {
    let server = server();
    let database = fresh_name();
    server.sql("postgres", &format!("CREATE DATABASE {database} OWNER {USER}"));
    server.sql(
        "postgres",
        &format!("UPDATE pg_database SET datcollversion = '1' WHERE datname = '{database}'"),
    );
    let url = server.url().replace("/journal?", &format!("/{database}?"));
    let mut link = connected(&url).await;
    assert_eq!(number(&mut link, "SELECT 7::bigint").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_wait_for_a_standby_is_unsure_although_the_server_answers_well() {
    let server = Server::start(&[]);
    server.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    server.sql("postgres", "SELECT pg_reload_conf()");
    while server.sql("postgres", "SHOW synchronous_standby_names").is_empty() {}
    let (mut link, mut waits) = (connected(&server.url()).await, connected(&server.url()).await);
    link.batch("SET synchronous_commit = local; CREATE TABLE t (n bigint)").await.unwrap();
    let insert = tokio::spawn(async move { (waits.query("INSERT INTO t VALUES (1)", &[]).await, waits) });
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while server.sql("postgres", cancel) == "0" {}
    let (answer, waits) = insert.await.unwrap();
    let error = answer.unwrap_err();
    let told = told(&error);
    assert!(error.kind() == Kind::Unsure && told.contains("synchronous replication"), "{told}");
    assert!(!waits.is_usable());
    assert_eq!(number(&mut link, "SELECT count(*) FROM t").await, 1, "it was kept here");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_unsure_and_so_is_one_whose_backend_was_killed() {
    let server = server();
    let mut link = hurried(&server.url(), Duration::from_millis(300)).await;
    let error = link.query("SELECT pg_sleep(60)", &[]).await.unwrap_err();
    let said = told(&error);
    assert!(error.kind() == Kind::Unsure && said.contains("no answer within"), "{said}");
    assert!(!link.is_usable());

    let (mut link, mut other) = (connected(&server.url()).await, connected(&server.url()).await);
    let pid = number(&mut link, "SELECT pg_backend_pid()::bigint").await;
    let waiting = tokio::spawn(async move { (link.query("SELECT pg_sleep(60)", &[]).await, link) });
    let kill = format!(
        "SELECT count(*) FROM (SELECT pid FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep') found, \
         LATERAL pg_terminate_backend(pid)"
    );
    while number(&mut other, &kill).await == 0 {}
    let (answer, link) = waiting.await.unwrap();
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.sql_state()), (Kind::Unsure, Some("57P01")), "{}", told(&error));
    assert!(!link.is_usable());
}

#[tokio::test]
async fn a_statement_that_was_given_up_leaves_no_usable_connection() {
    let mut link = connected(&server().url()).await;
    {
        let statement = link.query("SELECT pg_sleep(60)", &[]);
        let gone = tokio::time::timeout(Duration::from_millis(100), statement).await;
        assert!(gone.is_err());
    }
    assert!(!link.is_usable());
    assert_eq!(link.batch("SELECT 1").await.unwrap_err().kind(), Kind::NotKept);
}

#[tokio::test]
async fn a_connection_that_the_server_ended_while_it_was_idle_sends_nothing() {
    let server = server();
    let (mut link, mut other) = (connected(&server.url()).await, connected(&server.url()).await);
    let pid = number(&mut link, "SELECT pg_backend_pid()::bigint").await;
    other.query(&format!("SELECT pg_terminate_backend({pid})"), &[]).await.unwrap();
    while link.is_usable() {
        tokio::task::yield_now().await;
    }
    let error = link.query("SELECT 1", &[]).await.unwrap_err();
    let told = told(&error);
    assert!(error.kind() == Kind::NotKept && told.contains("was not sent"), "{told}");
}

#[tokio::test]
async fn what_certainly_was_not_kept_is_told_from_faults_of_this_program_and_from_missing_rights() {
    let server = server();
    let table = fresh_name();
    let mut holder = connected(&server.url()).await;
    holder
        .batch(&format!("CREATE SCHEMA {table}; CREATE TABLE {table}.t (n bigint PRIMARY KEY)"))
        .await
        .unwrap();
    holder.batch(&format!("BEGIN; LOCK TABLE {table}.t")).await.unwrap();
    for (sql, kind, state) in [
        (format!("BEGIN; LOCK TABLE {table}.t NOWAIT"), Kind::NotKept, "55P03"),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$".to_owned(), Kind::NotKept, "40001"),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$".to_owned(), Kind::NotKept, "40P01"),
        ("DO $$ BEGIN RAISE SQLSTATE '40003'; END $$".to_owned(), Kind::Unsure, "40003"),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$".to_owned(), Kind::Unsure, "53100"),
        ("DO $$ BEGIN RAISE SQLSTATE '57014'; END $$".to_owned(), Kind::Unsure, "57014"),
        ("SELECT * FROM pg_authid".to_owned(), Kind::Refused, "42501"),
        (
            "BEGIN; SET TRANSACTION READ ONLY; CREATE TABLE never (n int); COMMIT".to_owned(),
            Kind::ReadOnly,
            "25006",
        ),
        ("SELEKT 1".to_owned(), Kind::Statement, "42601"),
        ("SELECT 1/0".to_owned(), Kind::Statement, "22012"),
    ] {
        let mut link = connected(&server.url()).await;
        let error = link.batch(&sql).await.unwrap_err();
        assert_eq!((error.kind(), error.sql_state()), (kind, Some(state)), "{sql}: {}", told(&error));
        assert!(!link.is_usable(), "{sql}");
    }
    // A parameter that does not fit its type never leaves.
    let mut link = connected(&server.url()).await;
    let error = link.query("SELECT $1", &[(&"text", Type::INT8)]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Statement, "{}", told(&error));
}

#[tokio::test]
async fn several_statements_are_one_transaction_and_none_is_kept_where_one_fails() {
    let server = server();
    let pooler = Pooler::start(server, &[]);
    for url in [server.url(), pooler.url()] {
        let schema = fresh_name();
        let mut link = connected(&url).await;
        link.batch(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (n bigint UNIQUE)"))
            .await
            .unwrap();
        let insert = format!("INSERT INTO {schema}.t VALUES ($1) RETURNING n, txid_current()");
        let numbers: Vec<i64> = (0..40).collect();
        let parameters: Vec<_> =
            numbers.iter().map(|n| [(n as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8)]).collect();
        let statements: Vec<_> =
            parameters.iter().map(|parameters| Statement { sql: &insert, parameters }).collect();
        let rows = link.transaction(&statements).await.unwrap();
        let got: Vec<i64> = rows.iter().map(|rows| rows[0].get(0)).collect();
        assert_eq!(got, numbers, "in their order");
        let transactions: std::collections::BTreeSet<i64> = rows.iter().map(|rows| rows[0].get(1)).collect();
        assert_eq!(transactions.len(), 1);
        let (new, known) = (100_i64, 7_i64);
        let (new, known) = ([(&new as _, Type::INT8)], [(&known as _, Type::INT8)]);
        let both = [&new, &known, &new].map(|parameters| Statement { sql: &insert, parameters });
        let error = link.transaction(&both).await.unwrap_err();
        assert_eq!((error.kind(), error.sql_state()), (Kind::Statement, Some("23505")), "{}", told(&error));
        let mut link = connected(&url).await;
        assert_eq!(number(&mut link, &format!("SELECT count(*) FROM {schema}.t")).await, 40);
    }
}

#[tokio::test]
async fn a_standby_and_a_dead_host_lead_to_the_next_host() {
    let primary = Server::start(&[]);
    let standby = primary.standby();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let of = |ports: &[u16]| {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        options(&format!("postgres://{USER}@{}/{DATABASE}?sslmode=disable", hosts.join(",")))
    };
    let mut link = connector(of(&[dead, standby.port(), primary.port()])).connect().await.unwrap();
    assert_eq!(number(&mut link, "SELECT inet_server_port()::bigint").await, i64::from(primary.port()));
    let (kind, told) = refused(of(&[standby.port()])).await;
    assert!(kind == Kind::ReadOnly && told.contains("a standby"), "{told}");
    let (kind, told) = refused(of(&[dead, standby.port()])).await;
    assert_eq!(kind, Kind::Unreachable, "{told}");
    assert!(told.contains("a standby") && told.contains(&dead.to_string()), "both are told: {told}");

    let user = fresh_name();
    primary.sql(
        "postgres",
        &format!(
            "CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'; ALTER ROLE {user} SET default_transaction_read_only = on"
        ),
    );
    let (kind, told) = refused(options(&primary.url().replace(USER, &user))).await;
    assert!(kind == Kind::ReadOnly && told.contains("default_transaction_read_only"), "{told}");

    // Through a connection that stands, the primary becomes one that is not.
    primary.stop();
    let error = link.query("SELECT 1", &[]).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Unsure | Kind::NotKept), "{error:?}");
    standby.sql("postgres", "SELECT pg_promote()");
    let mut link = connector(of(&[dead, standby.port()])).connect().await.unwrap();
    assert_eq!(number(&mut link, "SELECT inet_server_port()::bigint").await, i64::from(standby.port()));
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_makes_no_difference() {
    let server = server();
    // One session for both connections.
    let pooler = Pooler::start(server, &[("default_pool_size", "1")]);
    let (mut one, mut other) = (connected(&pooler.url()).await, connected(&pooler.url()).await);
    for n in 0..50_i64 {
        for link in [&mut one, &mut other] {
            let rows = link.query("SELECT $1::bigint + $2", &[(&n, Type::INT8), (&1_i64, Type::INT8)]).await;
            assert_eq!(rows.unwrap()[0].get::<_, i64>(0), n + 1);
        }
    }
    let error = one.query("DO $$ BEGIN RAISE WARNING 'careful'; END $$", &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsure);
    let (kind, told) =
        refused(PostgresOptions { password: Some(secret("wrong-password")), ..options(&pooler.url()) }).await;
    assert_eq!(kind, Kind::Refused, "{told}");
    let (kind, told) = refused(options(&pooler.url().replace("/journal?", "/nothing?"))).await;
    assert_eq!(kind, Kind::Refused, "{told}");
    // It speaks no TLS.
    let (kind, told) = refused(options(&pooler.url().replace("?sslmode=disable", ""))).await;
    assert!(kind == Kind::Refused && told.contains("does not support TLS"), "{told}");
}

#[tokio::test]
async fn a_host_that_is_not_there_or_does_not_answer_is_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.port())).unwrap();
    let quick = Limits { whole: Duration::from_millis(200), ..PATIENT };
    let url = format!("postgres://u@127.0.0.1:{}/d?sslmode=disable", silent.1);
    let error = Connector::new(options(&url)).unwrap().with_limits(quick).connect().await.unwrap_err();
    let said = told(&error);
    assert!(error.kind() == Kind::Unreachable && said.contains("within 200ms"), "{said}");
    for url in [
        "postgres://u@127.0.0.1:1/d?sslmode=disable".to_owned(),
        "postgres://u@host.invalid/d".to_owned(),
        "postgres://u@%2Fnowhere/d".to_owned(),
    ] {
        let (kind, told) = refused(options(&url)).await;
        assert_eq!(kind, Kind::Unreachable, "{told}");
    }
}

/// A server that answers the first message with these bytes.
async fn answering(bytes: &'static [u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 1_024];
        let _ = stream.read(&mut first).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.read(&mut first).await;
    });
    format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable")
}

#[tokio::test]
async fn the_signing_in_of_gaussdb_is_refused_with_a_clear_message() {
    // Message 10: SHA256 of its own, with a salt of 64 digits, a token of 8 and the iterations.
    let url = answering(
        b"R\0\0\0\x58\0\0\0\x0a\0\0\0\x02\
          0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567\0\0\x27\x10",
    )
    .await;
    let (kind, told) = refused(options(&url)).await;
    assert!(kind == Kind::Refused && told.contains("GaussDB and openGauss are not supported"), "{told}");
    // Another server altogether.
    let url = answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let url = url.replace("?sslmode=disable", "");
    let (kind, told) = refused(options(&url)).await;
    assert!(kind == Kind::Refused && told.contains("check host and port"), "{told}");
}

/// In the environment of another run of this binary: how it is to end after it has started a server.
const ENDS: &str = "POSTGRES_SERVER_THEN";

#[test]
fn starts_a_server_and_ends() {
    let Ok(how) = std::env::var(ENDS) else { return };
    let server = server();
    println!("folder={} port={}", server.folder().display(), server.port());
    match how.as_str() {
        "panics" => panic!("as it was asked to"),
        "waits" => std::io::stdin().read_line(&mut String::new()).map(drop).unwrap(),
        _ => {}
    }
}

#[test]
fn a_server_ends_and_leaves_nothing_however_the_tests_end() {
    for how in ["returns", "panics", "waits"] {
        let mut run = Command::new(std::env::current_exe().unwrap());
        run.args(["postgres::starts_a_server_and_ends", "--exact", "--nocapture"]).env(ENDS, how);
        let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("folder=")).unwrap();
        let (_, line) = line.split_once("folder=").unwrap();
        let (folder, port) = line.split_once(" port=").unwrap();
        let (folder, port) = (PathBuf::from(folder), port.parse::<u16>().unwrap());
        if how == "waits" {
            // As the kernel does where memory is short.
            run.kill().unwrap();
        }
        run.wait().unwrap();
        let clock = SystemClock::new();
        let ended = clock.now();
        while folder.exists() || TcpStream::connect(("127.0.0.1", port)).is_ok() {
            assert!(clock.now().since(ended) < Duration::from_mins(1), "{how}: the server is still there");
            std::thread::yield_now();
        }
    }
}

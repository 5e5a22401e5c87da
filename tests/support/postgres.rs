//! A real PostgreSQL, as Debian packages it: a server of its own for a test binary, in a temporary folder, on a free port of
//! 127.0.0.1, without a Unix socket and as an ordinary user. It ends with the process that started it, however that ends.
//!
//! [`server`] is the one that tests share: it speaks plain text and TLS. [`Server::start`] makes one for a test alone, and
//! [`Server::standby`] a physical standby of one. [`Pooler`] is a `PgBouncer` in transaction mode.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::tools::{install, tell};

/// Where Debian keeps its servers, each in a folder of its version.
const SERVERS: &str = "/usr/lib/postgresql";
const CONNECTIONS: &str = "200";
const POOLER: &str = "/usr/sbin/pgbouncer";
/// Keeps Debian's package from starting a server of its own.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/upgrade-remediator-tests.conf";

/// The superuser of every server, …
pub(crate) const ADMIN: &str = "admin";
/// … the user that owns the database, …
pub(crate) const USER: &str = "remediator";
/// … one that signs in with a certificate, …
pub(crate) const BEARER: &str = "bearer";
/// … and the password of all of them.
pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// The database.
pub(crate) const DATABASE: &str = "journal";

/// Starts the program of its arguments after the first three, waits until the other end of its standard input is gone, and
/// ends it then; what lies in the folder goes with it.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
folder=$1 log=$2 signal=$3
shift 3
"$@" >"$log" 2>&1 </dev/null &
program=$!
read -r _ || :
kill -s "$signal" "$program"
wait "$program"
rm -rf "$folder"
"#;

/// The folder of the server's programs.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let newest = || {
        let versions = fs::read_dir(SERVERS).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        let number = |programs: &PathBuf| programs.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
        versions.filter(|programs| programs.join("initdb").exists()).max_by_key(number)
    };
    if let Some(found) = newest() {
        return found;
    }
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        fs::create_dir_all(Path::new(NO_CLUSTER).parent().unwrap()).unwrap();
        fs::write(NO_CLUSTER, "create_main_cluster = false\n").unwrap();
    }
    // Debian puts the server where no search for programs finds it.
    let told = install(&[("postgres", "postgresql")]);
    newest().unwrap_or_else(|| panic!("there is no PostgreSQL server under {SERVERS}: {told:?}"))
});

/// The ordinary user that servers run as, where this process is root: name and group are alike.
static ORDINARY: LazyLock<Option<(&str, u32, u32)>> = LazyLock::new(|| {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let number = |option, user| tell(Command::new("id").args([option, user])).ok()?.trim().parse().ok();
    let of = |user| Some((user, number("-u", user)?, number("-g", user)?));
    Some(of("postgres").or_else(|| of("nobody")).expect("a user that is not root"))
});

/// A program as the ordinary user.
fn ordinary(program: &Path) -> Command {
    let mut command = match *ORDINARY {
        None => Command::new(program),
        Some((_, user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.args(["--clear-groups", "--"]).arg(program);
            command
        }
    };
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    command
}

/// Gives a file or folder to the ordinary user, and to nobody else.
fn give(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if let Some((_, user, group)) = *ORDINARY {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// A folder of the ordinary user's. The watchdog removes it.
fn folder(what: &str) -> PathBuf {
    let folder = TempDir::with_prefix(format!("upgrade-remediator-{what}-")).unwrap().keep();
    give(&folder, 0o700);
    folder
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    give(path, 0o600);
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A program that ends when this is dropped or this process is gone.
struct Watched {
    watchdog: Child,
    /// Whose end the watchdog waits for.
    life: Option<ChildStdin>,
    log: PathBuf,
}

impl Watched {
    fn start(folder: &Path, signal: &str, program: &Path, arguments: &[&str]) -> Self {
        let log = folder.join("log");
        let mut command = ordinary(Path::new("/bin/sh"));
        command.args(["-c", WATCHDOG, "sh"]).args([folder, &log]).arg(signal).arg(program).args(arguments);
        // What a terminal sends to the test is for the test.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut watchdog =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { life: watchdog.stdin.take(), watchdog, log }
    }

    fn said(&self) -> String {
        let mut said = String::new();
        let _ = File::open(&self.log).and_then(|mut log| log.read_to_string(&mut said));
        said
    }

    /// Waits until it listens at this port, and has said this. `false`: it cannot, because the port was taken meanwhile.
    fn is_ready(&self, port: u16, sign: &str) -> bool {
        for _ in 0..1_200 {
            let said = self.said();
            if said.contains("ddress already in use") {
                return false;
            }
            assert!(!said.contains("FATAL"), "it does not start: {said}");
            if said.contains(sign) && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return true;
            }
            pause();
        }
        panic!("it did not start within a minute: {}", self.said());
    }

    fn stop(&mut self) {
        drop(self.life.take());
        let _ = self.watchdog.wait();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::disallowed_methods, reason = "another program is waited for, in no test's time")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// A CA that no system trusts, as files: its own certificate, and one with its key for each end.
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// One whose files are in this folder, which is made.
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        give(&folder, 0o700);
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "a private CA");
        let ca_key = KeyPair::generate().unwrap();
        write(&folder.join("ca.pem"), &ca.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(ca, ca_key);
        for (end, names, usage) in [
            ("server", vec!["127.0.0.1".to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
            (BEARER, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut of_end = CertificateParams::new(names).unwrap();
            of_end.distinguished_name.push(DnType::CommonName, end);
            of_end.extended_key_usages.push(usage);
            let key = KeyPair::generate().unwrap();
            let certificate = of_end.signed_by(&key, &issuer).unwrap().pem();
            write(&folder.join(format!("{end}.pem")), &certificate);
            write(&folder.join(format!("{end}.key")), &key.serialize_pem());
        }
        Self { folder }
    }

    /// Its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate of [`BEARER`].
    pub(crate) fn client_cert(&self) -> PathBuf {
        self.folder.join(format!("{BEARER}.pem"))
    }

    /// Its key.
    pub(crate) fn client_key(&self) -> String {
        fs::read_to_string(self.folder.join(format!("{BEARER}.key"))).unwrap()
    }
}

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    authority: Option<Authority>,
    running: Watched,
}

/// The server that all tests of a binary share: nothing of it may be changed but in schemas and databases of one's own.
pub(crate) fn server() -> &'static Server {
    static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));
    &SHARED
}

/// A name that no other test of this binary uses, for a schema, a database or a role.
pub(crate) fn fresh_name() -> String {
    static USED: AtomicU32 = AtomicU32::new(0);
    format!("t{}", USED.fetch_add(1, Ordering::Relaxed))
}

impl Server {
    /// Starts one with these settings instead of its own, or beside them. What it keeps would not survive the machine: `fsync` is off, unless
    /// they say otherwise.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let folder = folder("postgres");
        let (data, secret) = (folder.join("data"), folder.join("password"));
        write(&secret, PASSWORD);
        let mut initdb = ordinary(&PROGRAMS.join("initdb"));
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&secret);
        initdb.args(["--username", ADMIN, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        tell(initdb.arg("--no-sync")).unwrap();
        let authority = Authority::new(folder.join("authority"));
        for (name, from) in [("server.crt", "server.pem"), ("server.key", "server.key"), ("ca.crt", "ca.pem")]
        {
            write(&data.join(name), &fs::read_to_string(authority.folder.join(from)).unwrap());
        }
        write(
            &data.join("pg_hba.conf"),
            &format!(
                "local all all scram-sha-256\n\
                 hostssl all {BEARER} 127.0.0.1/32 cert\n\
                 host all,replication all 127.0.0.1/32 scram-sha-256\n"
            ),
        );
        let own = [
            ("ssl", "on"),
            ("ssl_ca_file", "ca.crt"),
            ("max_connections", CONNECTIONS),
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("shared_buffers", "16MB"),
            ("max_wal_size", "128MB"),
            ("min_wal_size", "32MB"),
            ("wal_keep_size", "64MB"),
            ("jit", "off"),
        ];
        let started = Self::run(&folder, &[&own, settings].concat(), Some(authority));
        started.sql(
            "postgres",
            &format!(
                "CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE {BEARER} LOGIN; \
                 CREATE DATABASE {DATABASE} OWNER {USER}"
            ),
        );
        started
    }

    /// A physical standby of it, which follows it.
    pub(crate) fn standby(&self) -> Self {
        let folder = folder("standby");
        let data = folder.join("data");
        let mut copy = ordinary(&PROGRAMS.join("pg_basebackup"));
        copy.arg("--pgdata").arg(&data).args(["--host", "127.0.0.1", "--username", ADMIN, "--no-sync"]);
        copy.args(["--port", &self.port.to_string(), "--checkpoint", "fast", "--write-recovery-conf"]);
        tell(copy.env("PGPASSWORD", PASSWORD)).unwrap();
        // A standby needs as much as its primary.
        let settings = [("fsync", "off"), ("shared_buffers", "16MB"), ("max_connections", CONNECTIONS)];
        Self::run(&folder, &settings, None)
    }

    /// Runs the server in this folder until it takes connections.
    fn run(folder: &Path, settings: &[(&str, &str)], authority: Option<Authority>) -> Self {
        let fixed = [("listen_addresses", "127.0.0.1"), ("unix_socket_directories", "")];
        let settings: Vec<String> =
            fixed.iter().chain(settings).map(|(name, value)| format!("{name}={value}")).collect();
        let data = folder.join("data");
        loop {
            let port = free_port();
            let port_setting = format!("port={port}");
            let mut arguments = vec!["-D", data.to_str().unwrap(), "-c", &port_setting];
            for setting in &settings {
                arguments.extend(["-c", setting]);
            }
            // At once: what it keeps is thrown away.
            let running = Watched::start(folder, "QUIT", &PROGRAMS.join("postgres"), &arguments);
            if running.is_ready(port, "ready to accept") {
                return Self { folder: folder.to_owned(), port, authority, running };
            }
            // The watchdog must not take the folder with it.
            let mut lost = running;
            let _ = lost.watchdog.kill();
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are, in `data`. It is gone when the server is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The CA of its certificate.
    pub(crate) fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("a standby has that of its primary")
    }

    /// The URL of [`USER`] in [`DATABASE`], in plain text.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}?sslmode=disable", self.port)
    }

    /// The same over TLS.
    pub(crate) fn tls_url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// Runs statements as [`ADMIN`] in this database, and gives what they printed: a line for each row, with `|` between
    /// columns.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(PROGRAMS.join("psql"));
        psql.env_clear().env("PGPASSWORD", PASSWORD).env("PATH", "/usr/bin:/bin");
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        psql.args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", ADMIN, database]);
        let mut child =
            psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(mut self) {
        self.running.stop();
    }
}

/// A running `PgBouncer` in transaction mode, in plain text.
pub(crate) struct Pooler {
    port: u16,
    _running: Watched,
}

impl Pooler {
    /// One in front of this server, with these settings beside its own.
    pub(crate) fn start(server: &Server, settings: &[(&str, &str)]) -> Self {
        install(&[(POOLER, "pgbouncer")]).unwrap_or_else(|why| panic!("{why}"));
        let folder = folder("pgbouncer");
        let (users, file) = (folder.join("users.txt"), folder.join("pgbouncer.ini"));
        write(&users, &format!("\"{USER}\" \"{PASSWORD}\"\n"));
        let settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        loop {
            let port = free_port();
            write(
                &file,
                &format!(
                    "[databases]\n* = host=127.0.0.1 port={}\n\
                     [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                     auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
                     max_client_conn = 200\ndefault_pool_size = 10\n{}",
                    server.port,
                    users.display(),
                    settings.concat(),
                ),
            );
            let running = Watched::start(&folder, "TERM", Path::new(POOLER), &[file.to_str().unwrap()]);
            if running.is_ready(port, "process up") {
                return Self { port, _running: running };
            }
            let mut lost = running;
            let _ = lost.watchdog.kill();
        }
    }

    /// The URL of [`USER`] in [`DATABASE`] through it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}?sslmode=disable", self.port)
    }
}

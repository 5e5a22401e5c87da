//! What tests need of the machine: programs of Debian's packages, installed where they are missing, and things that are
//! made once and kept under `target/tmp`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Runs a command to its end: what it printed, or what it printed and that it failed.
pub(crate) fn tell(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(told) } else { Err(format!("{command:?}: {}: {told}", output.status)) }
}

/// The programs of these packages can be called; each stands with its package. Where one is missing `apt-get` installs it,
/// which only root can do.
pub(crate) fn install(programs: &[(&str, &str)]) -> Result<(), String> {
    let absent = || -> Vec<&str> {
        let missing = programs.iter().filter(|(program, _)| {
            tell(Command::new("sh").args(["-c", "command -v -- \"$1\"", "sh", program])).is_err()
        });
        missing.map(|(_, package)| *package).collect()
    };
    let packages = absent();
    if packages.is_empty() {
        return Ok(());
    }
    let needs = format!(
        "this test needs what is missing here (Debian: `apt-get install --no-install-recommends {}`)",
        packages.join(" ")
    );
    if fs::metadata("/proc/self").map_or(true, |process| process.uid() != 0) {
        return Err(format!("{needs}; only root can install it"));
    }
    let apt = |arguments: &[&str]| {
        let waits = ["-o", "DPkg::Lock::Timeout=300"];
        tell(Command::new("apt-get").args(waits).args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"], packages.as_slice()].concat();
    let told = apt(&install).or_else(|_| apt(&["update", "--quiet"]).and_then(|_| apt(&install)));
    if absent().is_empty() { Ok(()) } else { Err(format!("{needs}; it could not be installed: {told:?}")) }
}

/// The same for a test that cannot go on without.
pub(crate) fn need(program: &str, package: &str) {
    if let Err(why) = install(&[(program, package)]) {
        panic!("{why}");
    }
}

/// Something that is made once, under another name, and renamed when it is whole: an interrupted run leaves nothing
/// half-made.
pub(crate) fn made_once(name: &str, of: impl Hash, make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ready = cache.join(format!("{name}-{:016x}", hasher.finish()));
    if !ready.exists() {
        let making = cache.join(format!("{name}-making-{}", std::process::id()));
        let _ = fs::remove_dir_all(&making);
        make(&making);
        if fs::rename(&making, &ready).is_err() {
            // Another run was quicker.
            let _ = fs::remove_dir_all(&making);
        }
    }
    assert!(ready.exists(), "{} is neither there nor can it be made", ready.display());
    ready
}

/// promtool of Debian's package `prometheus`. Where it is missing the package is fetched by apt and only unpacked, so that no
/// service is installed or started.
pub(crate) static PROMTOOL: LazyLock<PathBuf> = LazyLock::new(|| {
    let works = |program: &Path| tell(Command::new(program).arg("--version")).is_ok();
    let installed = PathBuf::from("promtool");
    if works(&installed) {
        return installed;
    }
    let needs = "this test needs promtool (Debian: `apt-get install --no-install-recommends prometheus`)";
    let root = made_once("prometheus", (), |making| {
        fs::create_dir_all(making).unwrap();
        // Fails for others than root, who may have the lists already.
        let _ = tell(Command::new("apt-get").args(["update", "--quiet"]));
        let fetched = tell(Command::new("apt-get").args(["download", "prometheus"]).current_dir(making));
        let package = fs::read_dir(making).unwrap().map(|entry| entry.unwrap().path());
        let package = package.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
        let Some(package) = package else { panic!("{needs}; it could not be fetched: {fetched:?}") };
        tell(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(making)).unwrap();
        fs::remove_file(package).unwrap();
    });
    let unpacked = root.join("usr/bin/promtool");
    assert!(works(&unpacked), "{needs}; the one that was unpacked does not run");
    unpacked
});

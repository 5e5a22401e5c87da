//! promtool comes from Debian's package `prometheus`. Where it is missing the package is fetched by apt and only unpacked, so that
//! no service is installed or started.

use std::fs;
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

/// The program, or this tells what is missing.
pub(crate) static PROMTOOL: LazyLock<PathBuf> = LazyLock::new(|| {
    let works = |program: &Path| tell(Command::new(program).arg("--version")).is_ok();
    let installed = PathBuf::from("promtool");
    if works(&installed) {
        return installed;
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
    let unpacked = cache.join("usr/bin/promtool");
    if works(&unpacked) {
        return unpacked;
    }
    let making = cache.with_extension(format!("making-{}", std::process::id()));
    fs::create_dir_all(&making).unwrap();
    // Fails for others than root, who may have the lists already.
    let _ = tell(Command::new("apt-get").args(["update", "--quiet"]));
    let fetched = tell(Command::new("apt-get").args(["download", "prometheus"]).current_dir(&making));
    let package = fs::read_dir(&making).unwrap().map(|entry| entry.unwrap().path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let needs = "this test needs promtool (Debian: `apt-get install --no-install-recommends prometheus`)";
    let Some(package) = package else { panic!("{needs}; it could not be fetched: {fetched:?}") };
    tell(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&making)).unwrap();
    fs::remove_file(package).unwrap();
    if fs::rename(&making, &cache).is_err() {
        // Another run was quicker.
        let _ = fs::remove_dir_all(&making);
    }
    assert!(works(&unpacked), "{needs}; the one that was unpacked does not run");
    unpacked
});

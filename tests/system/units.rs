//! The units as files: the one for further instances says the same as the first, and systemd finds nothing to complain
//! about. `tests/system/service` runs them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNIT: &str = "upgrade-remediator.service";
const TEMPLATE: &str = "upgrade-remediator@.service";

fn text(unit: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit)).unwrap()
}

/// What systemd goes by.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

#[test]
fn the_unit_for_further_instances_differs_in_places_and_names_alone() {
    let (unit, template) = (text(UNIT), text(TEMPLATE));
    let expected = unit
        .replace("CSS clusters", "CSS clusters (%i)")
        .replace("/etc/upgrade-remediator/config.toml", "/etc/upgrade-remediator/%i/config.toml")
        .replace("StateDirectory=upgrade-remediator", "StateDirectory=upgrade-remediator@%i")
        .replace("RuntimeDirectory=upgrade-remediator", "RuntimeDirectory=upgrade-remediator@%i")
        .replace("-key:upgrade-remediator.", "-key:upgrade-remediator@%i.");
    assert_eq!(lines(&template), lines(&expected));
    for line in
        ["Wants=network-online.target time-sync.target", "After=network-online.target time-sync.target"]
    {
        assert!(
            lines(&unit).contains(&line),
            "what is journaled by a wrong clock is understood anew later: {line}"
        );
    }
    // A violation of the filter kills: an error that nobody reads would hide it.
    assert!(!unit.contains("SystemCallErrorNumber"));
}

/// The units in a folder of their own, with the binary that there is here.
fn units() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_upgrade-remediator");
    let units = [UNIT, TEMPLATE].map(|unit| {
        let path = folder.path().join(unit);
        fs::write(&path, text(unit).replace("/usr/bin/upgrade-remediator", binary)).unwrap();
        path.with_file_name(unit.replace('@', "@two"))
    });
    (folder, units.to_vec())
}

#[test]
fn systemd_finds_nothing_to_complain_about_and_little_exposed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        // Not by a macro: this is seen without --nocapture.
        let _ = writeln!(std::io::stderr(), "skipped: there is no systemd-analyze here (Debian: systemd)");
        return;
    }
    let (_folder, units) = units();
    for unit in units {
        // Its exit code is no proof. The page that the unit names is installed by the package.
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(told.concat(), "", "{}", unit.display());
    }
    for unit in [UNIT, TEMPLATE] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit);
        let mut command = Command::new("systemd-analyze");
        let output =
            command.args(["security", "--offline=true", "--threshold=12"]).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

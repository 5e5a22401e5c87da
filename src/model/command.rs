//! Commands of this program as advice: pasted as they stand, in any folder, they reach the same daemon.

use std::fmt::Display;
use std::path::Path;
use std::sync::OnceLock;

/// The configuration of a command that names none.
pub const DEFAULT_CONFIG: &str = "/etc/upgrade-remediator/config.toml";

const NAME: &str = "upgrade-remediator";

/// The program with its configuration. A constant of the process, as its arguments are: no text can be made without it.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// Names the configuration of this process, by its absolute path, in every command from now on. The first call counts.
pub fn name_configuration(file: &Path) {
    let _ = PROGRAM.set(with_configuration(file));
}

/// The program, before its arguments.
pub fn program() -> &'static str {
    PROGRAM.get().map_or(NAME, String::as_str)
}

/// The whole command with these arguments.
pub fn command(arguments: impl Display) -> String {
    format!("{} {arguments}", program())
}

/// As a shell takes it; the usual file is not named.
fn with_configuration(file: &Path) -> String {
    if file == Path::new(DEFAULT_CONFIG) {
        return NAME.to_owned();
    }
    let path = file.to_string_lossy();
    // Only a NUL cannot be quoted, and no path has one.
    let quoted = shlex::try_quote(&path).unwrap_or_default();
    format!("{NAME} --config {quoted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_but_the_usual_one_is_named_as_a_shell_takes_it() {
        for (file, program) in [
            (DEFAULT_CONFIG, "upgrade-remediator"),
            ("/etc/upgrade-remediator/./config.toml", "upgrade-remediator"),
            (
                "/etc/upgrade-remediator/b/config.toml",
                "upgrade-remediator --config /etc/upgrade-remediator/b/config.toml",
            ),
            ("/srv/it's.toml", "upgrade-remediator --config \"/srv/it's.toml\""),
            ("/srv/a b; c.toml", "upgrade-remediator --config '/srv/a b; c.toml'"),
        ] {
            assert_eq!(with_configuration(Path::new(file)), program);
        }
    }

    #[test]
    fn a_command_of_a_process_without_a_configuration_names_none() {
        assert_eq!(command(format_args!("explain {}", "logs")), "upgrade-remediator explain logs");
    }
}

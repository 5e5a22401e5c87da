//! Commands that are printed as advice, with the `--config` in use: pasted as they stand, they reach the same daemon.

use std::path::Path;

use clap::CommandFactory as _;

use super::{Arguments, DEFAULT_CONFIG};
use crate::model::outlook::Outlook;

/// What a command of ours begins with.
const PROGRAM: &str = "upgrade-remediator ";

/// Adds the configuration in use to commands.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    /// `--config FILE `, as a shell takes it; empty for the usual file.
    config: String,
}

impl Hints {
    /// For commands that name no configuration, printed by a command with this one.
    pub(super) fn new(config: &Path) -> Self {
        if config == Path::new(DEFAULT_CONFIG) {
            return Self::default();
        }
        let path = config.to_string_lossy();
        // Only a NUL cannot be quoted, and no path has one.
        let quoted = shlex::try_quote(&path).unwrap_or_default();
        Self { config: format!("--config {quoted} ") }
    }

    /// Returns the text with the configuration in each command of this program.
    pub(super) fn in_text(&self, text: &str) -> String {
        if self.config.is_empty() || !text.contains(PROGRAM) {
            return text.to_owned();
        }
        let commands = Arguments::command();
        let mut parts = text.split(PROGRAM);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for rest in parts {
            let verb = rest.split(|c: char| c != '-' && !c.is_ascii_lowercase()).next().unwrap_or_default();
            // A path of the program is part of a command that is complete already.
            let is_command = !out.ends_with('/') && commands.find_subcommand(verb).is_some();
            out.push_str(PROGRAM);
            out.push_str(if is_command { &self.config } else { "" });
            out.push_str(rest);
        }
        out
    }

    /// Returns the outlook with the configuration in each command of this program.
    pub(super) fn in_outlook(&self, outlook: Outlook) -> Outlook {
        outlook.with_commands(|command| self.in_text(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_printed_as_advice_names_the_configuration_in_use() {
        let text = "To end it: upgrade-remediator release logs; or `upgrade-remediator explain logs`\nTo stop it: \
                    systemctl stop upgrade-remediator. It ends; journalctl -u upgrade-remediator tells";
        let with = |config: &str| Hints::new(Path::new(config)).in_text(text);
        assert_eq!(with(DEFAULT_CONFIG), text);
        assert_eq!(
            with("/srv/it's.toml"),
            "To end it: upgrade-remediator --config \"/srv/it's.toml\" release logs; or `upgrade-remediator --config \
             \"/srv/it's.toml\" explain logs`\nTo stop it: systemctl stop upgrade-remediator. It ends; journalctl -u \
             upgrade-remediator tells"
        );
    }

    #[test]
    fn the_program_before_another_word_or_behind_a_path_is_left_as_it_is() {
        for text in [
            "systemctl stop upgrade-remediator and wait",
            "sudo /usr/bin/upgrade-remediator doctor --config x.toml",
        ] {
            assert_eq!(Hints::new(Path::new("x.toml")).in_text(text), text);
        }
    }
}

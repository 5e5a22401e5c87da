//! `notify-test`: sends one message to one channel, and prints the result.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::doctor::in_the_unit;
use super::{CommandResult, Failure, block_on, print, print_json};
use crate::clock::{Clock as _, SystemClock, random_seed};
use crate::configuration::{Environment, Loaded};
use crate::daemon;
use crate::model::text::{did_you_mean, nearest, shown};
use crate::notify::kind::Kind;
use crate::notify::message::Message;
use crate::notify::notice::{self, Todo};

/// Which channel.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The name of the channel in the configuration.
    channel: String,
}

/// Sends it. The daemon need not run, and its notifications are not changed.
pub(super) fn notify_test(
    config: &Path,
    loaded: &Loaded,
    environment: &Environment,
    options: &Options,
    json: bool,
) -> CommandResult {
    let (configuration, name) = (&loaded.configuration, &options.channel);
    let Some(known) = configuration.channels.iter().find(|channel| channel.name == *name) else {
        let names: Vec<&str> = configuration.channels.iter().map(|channel| channel.name.as_str()).collect();
        let known = if names.is_empty() {
            "there are no channels".to_owned()
        } else {
            format!("the channels are {}", names.join(", "))
        };
        return Err(Failure::Usage(format!(
            "there is no channel of the name \"{}\" in the configuration{}; {known}",
            shown(name, 60),
            did_you_mean(nearest(name, names.iter().copied()))
        )));
    };
    if configuration.channel_needs_the_unit(name, environment) {
        let command = in_the_unit(config, configuration, &format!("notify-test {name}"));
        return Err(Failure::Other(anyhow!(
            "only the systemd unit has the channel's secrets; run the command with the unit's credentials:\n  {command}"
        )));
    }
    let clock = Arc::new(SystemClock::new());
    let channel = daemon::channel_of(configuration, name, environment, &clock).map_err(Failure::of_build)?;
    let channel = channel.ok_or_else(|| anyhow!("the channel {name} cannot be built"))?;
    let at = clock.now().wall;
    let what = format!("this is a test of the channel \"{name}\", sent by an operator; nothing has happened");
    let mut told = notice::of_project(Kind::Test, at, "", what, None);
    told.title = format!("test of the channel {name}");
    "nothing".clone_into(&mut told.next);
    told.todo = vec![Todo { purpose: "nothing; the channel works".to_owned(), command: String::new() }];
    told.link = notice::link(configuration.notify.page.as_deref(), None);
    let message = Message::of_one(format!("{:016x}{:016x}", random_seed(), random_seed()), told);
    let sent = block_on(async { Ok(channel.send(&message).await) })?;
    let kind = known.way.word();
    match sent {
        Ok(taken) if json => {
            print_json(&json!({
                "channel": name, "type": kind, "sent": true, "id": message.id, "refused": taken.refused,
            }))?;
        }
        Ok(taken) => {
            print(&format!(
                "channel {name} ({kind}): the message was accepted (id {}); check that it arrived\n",
                message.id
            ))?;
            for (who, why) in &taken.refused {
                print(&format!("it was not accepted for {}: {}\n", shown(who, 100), shown(why, 300)))?;
            }
        }
        Err(error) => {
            return Err(Failure::Other(anyhow!(
                "channel {name} ({kind}) did not accept the message: {error}"
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

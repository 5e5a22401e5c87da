//! `journal copy`: a journal in a file becomes one in a database.

use std::process::ExitCode;

use super::progress::{Progress, Work};
use super::{CommandResult, Failure, block_on};
use crate::clock::{Clock as _, SystemClock, random_seed};
use crate::configuration::{JournalLocation, JournalUrl, Loaded};
use crate::journal::database::{self, Contents};
use crate::journal::{Journal, JournalReader, SqliteJournal, SqliteOptions};
use crate::model::text::counted;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Copy a journal file into the empty PostgreSQL database that the configuration names; both daemons have to be stopped.
    Copy {
        /// The journal to copy: sqlite: and the path of its file.
        #[arg(long, value_name = "URL")]
        from: String,
    },
}

/// Does what is asked.
pub(super) fn journal(loaded: &Loaded, options: &Options, json: bool) -> CommandResult {
    let Command::Copy { from } = &options.command;
    let from = match JournalUrl::parse(from) {
        Ok(JournalUrl::Sqlite(path)) => path,
        Ok(JournalUrl::Postgres(_)) => {
            return Err(Failure::Usage(
                "a journal is copied from a file only: --from sqlite:/PATH".to_owned(),
            ));
        }
        Err(why) => return Err(Failure::Usage(format!("--from: {why}"))),
    };
    let JournalLocation::Postgres(connector) = &loaded.configuration.journal else {
        return Err(Failure::Usage(
            "a journal is copied to a database only: set journal.url to postgres://… in the configuration"
                .to_owned(),
        ));
    };
    // A missing one must not be made.
    let reader = JournalReader::open(&from)?;
    let options = SqliteOptions::new(SystemClock::new().now().wall, random_seed());
    // Its lock keeps a daemon out.
    let (store, entries) = SqliteJournal::open(&from, &options)?;
    let work = Work::default();
    work.more(entries.len());
    let progress = Progress::show("entries copied", work.clone(), json);
    let copied = block_on(async {
        let journal = Journal::from(store.clone());
        let contents = Contents {
            meta: journal.meta().clone(),
            scopes: reader.scopes()?,
            names: reader.names()?,
            kept: journal.kept().await?,
            in_force: journal.in_force().await?,
            alive: journal.last_alive().await?,
            refusals: store.refusals().map(str::to_owned),
            entries,
        };
        let done = database::copy(connector, &contents, |part| work.did(part)).await;
        journal.close().await?;
        done?;
        Ok((contents.entries.len(), contents.scopes.len()))
    });
    drop(progress);
    let (entries, scopes) = copied?;
    let to = loaded.configuration.journal.place();
    let text = format!(
        "copied {} and {} of holds from {} to {to}\n",
        counted(entries as u64, "entry", "entries"),
        counted(scopes as u64, "entry", "entries"),
        from.display(),
    );
    if json {
        super::print_json(&serde_json::json!({ "entries": entries, "holds": scopes, "to": to }))?;
    } else {
        super::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

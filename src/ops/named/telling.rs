//! What a backup tells while it runs, in RavenDB's words (`Storage/BaseBackupOperation.cs`).

use std::time::Duration;

use super::operations;
use crate::app::App;
use crate::catalog::Message;
use crate::jobs::JobContext;
use crate::ops::backup::{IndexFile, IndexFiles};

/// How often it is looked how far the backup is.
const LOOK: Duration = Duration::from_millis(250);
/// Voron's pages, in which RavenDB counts what an increment holds.
const PAGE: u64 = 4096;
/// Of an index with more files than these, the others are counted.
const FILES: usize = 500;

/// What was told so far.
#[derive(Default)]
struct Told {
    indexes: bool,
    files: usize,
    data: bool,
    /// Of ten.
    tenths: u8,
}

impl Told {
    /// What is new to tell.
    fn next(&mut self, phase: &str, percent: u8, files: Vec<IndexFile>) -> Vec<String> {
        let mut texts = Vec::new();
        let begun = !phase.is_empty();
        if begun && !std::mem::replace(&mut self.indexes, true) {
            texts.push("Backing up indexes..".to_owned());
        }
        for IndexFile { path, linked } in files {
            self.files += 1;
            match linked {
                _ if self.files > FILES => {}
                true => texts.push(format!("Hard linked {path}")),
                false => texts.extend([format!("Copying {path}"), format!("Copied {path}")]),
            }
        }
        let data = begun && !matches!(phase, "preparing" | "index");
        if data && !std::mem::replace(&mut self.data, true) {
            if self.files > FILES {
                texts.push(format!("{} more files of the indexes were taken", self.files - FILES));
            }
            texts.push("Finished indexes backup. Executing data backup..".to_owned());
        }
        if data && percent / 10 > self.tenths {
            self.tenths = percent / 10;
            texts.push(format!("Overall progress {}% done", self.tenths * 10));
        }
        texts
    }
}

/// Tells how far a backup is until `work` has ended.
pub async fn beside<T, E>(
    app: &App,
    ctx: &JobContext,
    files: &IndexFiles,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut told = Told::default();
    let mut work = std::pin::pin!(work);
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(LOOK) => {
                // The phase that comes after the index is set when all of its files are known.
                let view = ctx.progress.view();
                say(app, ctx, told.next(&view.phase, view.percent, files.take())).await;
            }
        }
    };
    if result.is_ok() {
        say(app, ctx, told.next("storing", 100, files.take())).await;
    }
    result
}

async fn say(app: &App, ctx: &JobContext, texts: Vec<String>) {
    if !texts.is_empty() {
        let messages = texts.into_iter().map(Message::now).collect();
        operations::say_all(app, ctx.job.id, messages).await;
    }
}

/// How much an increment stored.
pub fn pages(bytes: u64) -> String {
    format!("Voron Incr Backup total {} pages", bytes.div_ceil(PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_told_once() {
        let mut told = Told::default();
        let mut next = |phase, percent| told.next(phase, percent, Vec::new());
        assert!(next("", 0).is_empty());
        assert_eq!(next("preparing", 0), ["Backing up indexes.."]);
        assert!(next("index", 12).is_empty());
        let data = "Finished indexes backup. Executing data backup..";
        assert_eq!(next("database", 29), [data, "Overall progress 20% done"]);
        assert!(next("database", 29).is_empty());
        // A table that changed under it lets it begin anew.
        assert!(next("preparing", 29).is_empty());
        assert_eq!(next("verifying", 99), ["Overall progress 90% done"]);
        assert_eq!(next("storing", 100), ["Overall progress 100% done"]);
        assert_eq!(Told::default().next("storing", 100, Vec::new()).len(), 3);
        assert_eq!(pages(4097), "Voron Incr Backup total 2 pages");
    }

    #[test]
    fn files_of_indexes_are_told_before_the_data() {
        let files = |count: usize| {
            let file = |n| IndexFile { path: format!("i/_{n}.cfs"), linked: n > 0 };
            (0..count).map(file).collect::<Vec<_>>()
        };
        let told = Told::default().next("database", 0, files(2));
        let data = "Finished indexes backup. Executing data backup..";
        let all = ["Copying i/_0.cfs", "Copied i/_0.cfs", "Hard linked i/_1.cfs"];
        assert_eq!(told, [&["Backing up indexes.."], &all[..], &[data]].concat());
        let told = Told::default().next("database", 0, files(FILES + 7));
        assert_eq!(told.len(), 1 + FILES + 1 + 2);
        assert_eq!(told[told.len() - 2], "7 more files of the indexes were taken");
    }
}

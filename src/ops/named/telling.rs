//! What a backup tells while it runs, in RavenDB's words (`Storage/BaseBackupOperation.cs`).

use std::time::Duration;

use super::operations;
use crate::app::App;
use crate::catalog::Message;
use crate::jobs::JobContext;

/// How often it is looked how far the backup is.
const LOOK: Duration = Duration::from_millis(250);
/// Voron's pages, in which RavenDB counts what an increment holds.
const PAGE: u64 = 4096;

/// What was told so far.
#[derive(Default)]
struct Told {
    indexes: bool,
    data: bool,
    /// Of ten.
    tenths: u8,
}

impl Told {
    /// What is new to tell.
    fn next(&mut self, phase: &str, percent: u8) -> Vec<String> {
        let mut texts = Vec::new();
        let begun = !phase.is_empty();
        if begun && !std::mem::replace(&mut self.indexes, true) {
            texts.push("Backing up indexes..".to_owned());
        }
        let data = begun && !matches!(phase, "preparing" | "index");
        if data && !std::mem::replace(&mut self.data, true) {
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
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut told = Told::default();
    let mut work = std::pin::pin!(work);
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(LOOK) => {
                let view = ctx.progress.view();
                say(app, ctx, told.next(&view.phase, view.percent)).await;
            }
        }
    };
    if result.is_ok() {
        say(app, ctx, told.next("storing", 100)).await;
    }
    result
}

async fn say(app: &App, ctx: &JobContext, texts: Vec<String>) {
    for text in texts {
        operations::say(app, ctx.job.id, Message::now(text)).await;
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
        assert!(told.next("", 0).is_empty());
        assert_eq!(told.next("preparing", 0), ["Backing up indexes.."]);
        assert!(told.next("index", 12).is_empty());
        let data = "Finished indexes backup. Executing data backup..";
        assert_eq!(told.next("database", 29), [data, "Overall progress 20% done"]);
        assert!(told.next("database", 29).is_empty());
        // A table that changed under it lets it begin anew.
        assert!(told.next("preparing", 29).is_empty());
        assert_eq!(told.next("verifying", 99), ["Overall progress 90% done"]);
        assert_eq!(told.next("storing", 100), ["Overall progress 100% done"]);
        assert_eq!(Told::default().next("storing", 100).len(), 3);
        assert_eq!(pages(4097), "Voron Incr Backup total 2 pages");
    }
}

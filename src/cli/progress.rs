//! Progress of long work: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::jobs::{Progress, ProgressView};

const LOOK_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);

pub struct Display {
    bar: Option<ProgressBar>,
    last_line: Option<(Instant, String)>,
    quiet: bool,
}

impl Display {
    /// `quiet`: print nothing (`--json`).
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:40.cyan/blue} {pos:>3} %  {msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last_line: None, quiet }
    }

    pub fn show(&mut self, view: &ProgressView) {
        let text = describe(view);
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(view.percent));
            bar.set_message(text);
            return;
        }
        let due = match &self.last_line {
            None => true,
            Some((at, phase)) => {
                at.elapsed() >= LINE_EVERY || *phase != view.phase || view.percent == 100
            }
        };
        if due && !self.quiet {
            eprintln!("{:>3} %  {text}", view.percent);
            self.last_line = Some((Instant::now(), view.phase.clone()));
        }
    }

    /// Shows the progress of some work until it has ended.
    pub async fn watch<T>(mut self, progress: &Progress, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = tokio::time::sleep(LOOK_EVERY) => self.show(&progress.view()),
            }
        };
        self.finish();
        result
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.abandon();
        }
    }
}

fn describe(view: &ProgressView) -> String {
    use indicatif::{HumanBytes, HumanDuration};
    let mut text = view.phase.clone();
    if view.bytes_total > 0 {
        text += &format!(", {} of {}", HumanBytes(view.bytes_done), HumanBytes(view.bytes_total));
    }
    if view.rate > 0 {
        text += &format!(", {}/s", HumanBytes(view.rate));
    }
    if let Some(seconds) = view.eta_seconds {
        text += &format!(", {} left", HumanDuration(Duration::from_secs(seconds)));
    }
    text
}

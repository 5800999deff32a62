//! `schedule set|show|delete`.

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::follow::installation_tenant;
use super::storage_arg::{StorageArg, parameter};
use super::{CliError, Global, output};
use crate::app::App;
use crate::http::v1::schedules::ScheduleView;
use crate::ops::OpError;
use crate::ops::backup::Mode;
use crate::ops::schedules::{self, SetSchedule};
use crate::schedule::retention::Rules;

#[derive(Debug, Subcommand)]
pub enum Schedule {
    /// Make a schedule, or write one anew
    Set(Box<Set>),
    /// Show schedules, when they run next, and how they went
    Show(Show),
    /// Delete a schedule; its archives stay
    Delete(Delete),
}

#[derive(Debug, Args)]
pub struct Set {
    /// The schedule to write anew; without it a new one is made
    id: Option<Uuid>,
    /// When, as Quartz writes it: seconds minutes hours day-of-month month day-of-week, one day `?`, Sunday 1
    #[arg(long, value_name = "EXPRESSION")]
    cron: String,
    #[arg(long, default_value = "Backup")]
    name: String,
    /// Such as Europe/Paris [default: the portal's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Where the archives go, as for backup
    #[arg(long, default_value = "local")]
    storage: StorageArg,
    /// A parameter of the storage, as DocSpace names it, for example filePath=weekly
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, String)>,
    /// Store only what has changed since the backup before
    #[arg(long)]
    incremental: bool,
    /// Make a full backup instead when the last one is older, such as 7d
    #[arg(long, value_name = "SPAN", requires = "incremental")]
    full_every: Option<String>,
    /// Keep it, but do not run it
    #[arg(long)]
    disabled: bool,
    /// Keep the newest N archives
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the last of each of N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the last of each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the last of each of N weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the last of each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the last of each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep what is younger, such as 30d or 1y
    #[arg(long, value_name = "SPAN")]
    keep_within: Option<String>,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Only this one
    id: Option<Uuid>,
}

#[derive(Debug, Args)]
pub struct Delete {
    id: Uuid,
}

impl Schedule {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        match self {
            Self::Set(set) => set.run(&app, global.json).await,
            Self::Show(show) => show.run(&app, global.json).await,
            Self::Delete(Delete { id }) => {
                if !schedules::delete(&app, id, None).await? {
                    return Err(CliError::Failed(format!("there is no schedule {id}")));
                }
                if global.json {
                    return output::json(&json!({"id": id, "deleted": true}));
                }
                output::line("deleted")
            }
        }
    }
}

impl Set {
    async fn run(self, app: &App, as_json: bool) -> Result<(), CliError> {
        let (tenant_id, dump) = match self.id {
            Some(id) => {
                let present = schedules::get(app, None, id).await?;
                (present.tenant_id, present.dump)
            }
            None => (installation_tenant(app), true),
        };
        let wanted = SetSchedule {
            id: Some(self.id.unwrap_or_else(Uuid::new_v4)),
            tenant_id,
            dump,
            name: self.name,
            cron: self.cron,
            timezone: self.timezone,
            enabled: !self.disabled,
            storage_type: self.storage.0,
            storage_params: self.params.into_iter().collect(),
            mode: if self.incremental { Mode::Incremental } else { Mode::Full },
            full_every: self.full_every,
            retention: Rules {
                backups_stored: None,
                keep_last: self.keep_last,
                keep_hourly: self.keep_hourly,
                keep_daily: self.keep_daily,
                keep_weekly: self.keep_weekly,
                keep_monthly: self.keep_monthly,
                keep_yearly: self.keep_yearly,
                keep_within: self.keep_within,
            },
        };
        let record = schedules::set(app, wanted).await.map_err(|error| match error {
            OpError::Invalid(text) => CliError::Usage(text),
            other => other.into(),
        })?;
        let views = ScheduleView::of(app, &[record]).await?;
        match views.first() {
            Some(view) if as_json => output::json(view),
            Some(view) => line(view),
            None => Ok(()),
        }
    }
}

impl Show {
    async fn run(self, app: &App, as_json: bool) -> Result<(), CliError> {
        let records = match self.id {
            Some(id) => vec![schedules::get(app, None, id).await?],
            None => schedules::list(app, None, None).await?,
        };
        let views = ScheduleView::of(app, &records).await?;
        if as_json {
            return match (self.id, views.first()) {
                (Some(_), Some(view)) => output::json(view),
                _ => output::json(&views),
            };
        }
        if views.is_empty() {
            return output::line("no schedules yet");
        }
        views.iter().try_for_each(line)
    }
}

fn line(view: &ScheduleView) -> Result<(), CliError> {
    let or_never = |at: &Option<String>| at.clone().unwrap_or_else(|| "never".to_owned());
    output::line(&format!(
        "{}  {}  {}  {}",
        view.id, view.name, view.cron, view.effective_timezone
    ))?;
    output::line(&format!("  next run      {}", or_never(&view.next_run)))?;
    output::line(&format!("  last run      {}", or_never(&view.last_run)))?;
    output::line(&format!("  last success  {}", or_never(&view.last_success)))?;
    if let Some(job) = view.waiting_for {
        output::line(&format!("  waits for     job {job}"))?;
    }
    match &view.last_error {
        Some(error) => output::line(&format!("  last error    {error}")),
        None => Ok(()),
    }
}

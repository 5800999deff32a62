//! Time zones that change under a schedule (a tenant's, that of the configuration, or a zone's own rules), and a
//! machine's clock that was ahead.

use crate::app::App;
use crate::ops::OpError;
use crate::ops::schedules::{tenants, zone_of};
use crate::schedule::Cron;

/// Plans anew what is to run by a time zone or a clock that has changed since it was planned. Nothing lies between
/// now and a next run, so by what it was planned by the same comes out again.
pub async fn follow_zones(app: &App) -> Result<(), OpError> {
    let now = app.clock.now();
    let tenants = tenants(app).await?;
    for mut record in app.catalog.schedules().all().await? {
        let waits = record.next_run.is_some_and(|next| next > now);
        if !waits || !record.enabled || record.deleted_on.is_some() {
            continue;
        }
        let Ok(cron) = record.cron.parse::<Cron>() else { continue };
        let zone = zone_of(app, &tenants, &record);
        let next = cron.next_after(now, &zone);
        if next.is_some() && next != record.next_run {
            tracing::info!(schedule = %record.id, zone = zone.iana_name(), "a schedule's next run was planned anew");
            record.next_run = next;
            app.catalog.schedules().save(&record).await?;
        }
    }
    Ok(())
}

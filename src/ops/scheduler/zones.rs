//! Time zones that change under a schedule: a tenant's, or that of the configuration.

use crate::app::App;
use crate::ops::OpError;
use crate::ops::schedules::{tenants, zone_of};
use crate::schedule::Cron;

/// Plans anew what is to run by a time zone that has changed since it was planned. Nothing lies between now and
/// a next run, so in the zone that it was planned by the same comes out again.
pub async fn follow_zones(app: &App) -> Result<(), OpError> {
    let now = app.clock.now();
    let tenants = tenants(app).await?;
    for mut record in app.catalog.schedules().all().await? {
        let waits = record.next_run.is_some_and(|next| next > now);
        if !waits || !record.enabled || record.timezone.is_some() || record.deleted_on.is_some() {
            continue;
        }
        let Ok(cron) = record.cron.parse::<Cron>() else { continue };
        let zone = zone_of(app, &tenants, &record);
        let next = cron.next_after(now, &zone);
        if next.is_some() && next != record.next_run {
            tracing::info!(schedule = %record.id, zone = zone.iana_name(), "a schedule follows another time zone now");
            record.next_run = next;
            app.catalog.schedules().save(&record).await?;
        }
    }
    Ok(())
}

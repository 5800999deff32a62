//! How many backups were made.

use jiff::Timestamp;

use crate::app::App;
use crate::config::LayoutKind;
use crate::ops::OpError;

/// A tenant's backups between two moments, deleted ones included. `paid`: those that were paid for, which
/// only DocSpace itself makes.
pub async fn backups(
    app: &App,
    tenant_id: i64,
    from: Timestamp,
    to: Timestamp,
    paid: bool,
) -> Result<u64, OpError> {
    match (paid, app.portal.identity()) {
        (true, Some(identity)) => Ok(identity.paid_backups(tenant_id, from, to).await?),
        (true, None) => Ok(0),
        (false, _) => {
            // Both kinds are the same portal's in the plain layout.
            let docspace = app.portal.layout() == LayoutKind::Docspace;
            let whose = docspace.then_some(tenant_id);
            Ok(app.catalog.upkeep().count_archives(whose, from, to).await?)
        }
    }
}

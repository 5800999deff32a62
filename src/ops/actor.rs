//! Who asked for a job, as audit trails name them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::portal::docspace::audit::Who;

/// The member of a job's request that names who cancelled it.
pub const CANCELLED_BY: &str = "cancelledBy";

/// Somebody who asked over HTTP. Kept with the job, because the trail may be written later, by another process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The portal's id of the user; None: an own key was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// None: they came through a socket that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Of a job's request; nobody's where nobody asked.
    pub fn of(request: &serde_json::Value) -> Self {
        request.get("actor").map(Self::read).unwrap_or_default()
    }

    /// Who wanted the job of this request cancelled; nobody's where that is not known.
    pub fn cancelling(request: &serde_json::Value) -> Self {
        request.get(CANCELLED_BY).map(Self::read).unwrap_or_default()
    }

    /// As the portal's audit trail takes it.
    pub fn who(&self) -> Who<'_> {
        Who { user_id: self.user_id.as_deref(), address: self.address }
    }

    /// As it was written; nobody where that cannot be read.
    pub fn read(actor: &serde_json::Value) -> Self {
        Self::deserialize(actor).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn jobs_name_who_asked() {
        let actor = Actor {
            user_id: Some("66faa6e4-f133-11ea-b126-00ffeec8b4ef".to_owned()),
            address: Some("198.51.100.7".parse().unwrap()),
        };
        assert_eq!(Actor::of(&json!({"actor": actor.clone()})), actor);
        for request in [json!({}), json!({"actor": null}), json!({"actor": "x"}), json!(null)] {
            assert_eq!(Actor::of(&request), Actor::default(), "{request}");
        }
        let both = json!({"actor": null, CANCELLED_BY: actor.clone()});
        assert_eq!(Actor::cancelling(&both), actor);
    }
}

//! Whether DocSpace's files are as they should be where the configuration says that they are: what its settings
//! say of encryption at rest, and of a storage that was moved away (`facts.md` §7).

use serde_json::Value;

use super::identity::Identity;
use crate::portal::PortalError;
use crate::portal::sources::Source;

/// The setting of the storage that an installation moved to.
const MOVED: &str = "F13EAF2D-FA53-44F1-A6D6-A5AEDA46FA2B";

/// Sentences for the job's warnings.
pub async fn warnings(identity: &Identity, source: &Source) -> Result<Vec<String>, PortalError> {
    let database = identity.database();
    let mut warnings = Vec::new();
    let sql =
        "SELECT COUNT(*) FROM core_settings WHERE id = 'EncryptionSettings' AND LENGTH(value) > 0";
    if database.rows::<i64>(sql, ()).await?.first().is_some_and(|count| *count > 0) {
        warnings.push(
            "DocSpace has settings for encryption at rest: files that it encrypted are in the archive as they are, \
             and nothing but an installation with the same settings reads them"
                .to_owned(),
        );
    }
    if source.filesystem.is_local() {
        let sql = "SELECT Data FROM webstudio_settings WHERE ID = ? ORDER BY TenantID";
        let settings = database.rows::<String>(sql, (MOVED,)).await?;
        warnings.extend(settings.iter().find_map(|data| module(data)).map(|module| {
            format!(
                "DocSpace's storage was moved to {module:?}, but filesystem {} is a folder: files that are stored \
                 there since are not in the archive",
                source.name
            )
        }));
    }
    Ok(warnings)
}

/// The module that a setting names; None: the files are on disc.
fn module(data: &str) -> Option<String> {
    let settings: Value = serde_json::from_str(data).ok()?;
    let (_, module) =
        settings.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case("module"))?;
    module.as_str().filter(|module| !module.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::module;

    #[test]
    fn a_storage_that_was_moved_has_a_module() {
        assert_eq!(module(r#"{"Module":"s3","Props":[]}"#).as_deref(), Some("s3"));
        assert_eq!(module(r#"{"module":"googlecloud"}"#).as_deref(), Some("googlecloud"));
        for data in [r#"{"Module":""}"#, r#"{"Module":null,"Props":null}"#, "{}", "garbage"] {
            assert_eq!(module(data), None);
        }
    }
}

//! Where DocSpace keeps the files of a module, on disc and in a bucket (`facts.md` §7).

use crate::portal::StoredFile;

/// A module whose files a backup carries.
#[derive(Debug)]
pub struct Module {
    pub name: &'static str,
    /// Under `$STORAGE_ROOT`, `{0}` being the tenant's path.
    disc: &'static str,
    /// A domain for temporary files: its folder within the module, on disc and in a bucket.
    temp: Option<(&'static str, &'static str)>,
}

/// The modules that DocSpace backs up. All their lasting files are in the domain without a name.
pub const MODULES: [Module; 7] = [
    Module { name: "files", disc: "Products/Files/{0}", temp: Some(("temp", "files_temp")) },
    Module {
        name: "room_logos",
        disc: "Products/Files/logos/{0}",
        temp: Some(("temp", "logos_temp")),
    },
    Module { name: "mcp_icons", disc: "Products/Ai/mcp/{0}", temp: None },
    Module { name: "logo", disc: "Studio/{0}/logo", temp: None },
    Module { name: "whitelabel", disc: "Studio/{0}/CoBranding", temp: None },
    Module { name: "customnavigation", disc: "Studio/{0}/customnavigation", temp: None },
    Module { name: "webplugins", disc: "Studio/{0}/webplugins", temp: None },
];

/// So many folders below `$STORAGE_ROOT` (`Products`, `Products/Files`, `Studio` …) may be links: operators put them on
/// other volumes so. What lies below is made by DocSpace alone.
pub const LINKED_FOLDERS: usize = 2;

/// Which of DocSpace's two ways of keeping files a filesystem has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// A folder that is `$STORAGE_ROOT`.
    Disc,
    /// A bucket: keys are `{tenant}/{module}/{domain}/{path}`.
    Cloud,
}

impl Module {
    /// The folder, or the prefix of the keys, that holds a tenant's files of this module.
    pub fn prefix(&self, keeping: Keeping, tenant: i64) -> String {
        match keeping {
            Keeping::Disc => self.disc.replace("{0}", &tenant_path(tenant)),
            Keeping::Cloud => format!("{}/{}", tenant_path(tenant), self.name),
        }
    }

    /// The folder of a domain within the module; None for the one without a name.
    pub fn domain_folder<'a>(&self, keeping: Keeping, domain: &'a str) -> Option<&'a str>
    where
        Self: 'a,
    {
        match (keeping, self.temp) {
            _ if domain.is_empty() => None,
            (Keeping::Disc, Some((folder, temporary))) if temporary == domain => Some(folder),
            _ => Some(domain),
        }
    }

    /// Whether DocSpace's backup carries the file at `path` within the module. `backups`: the files that
    /// hold earlier backups, see [`is_backup`].
    pub fn carries(&self, keeping: Keeping, path: &str, backups: &[String]) -> bool {
        let first = path.split('/').next().unwrap_or(path);
        let temporary = self.temp.is_some_and(|(disc, cloud)| match keeping {
            Keeping::Disc => first == disc,
            Keeping::Cloud => first == cloud,
        });
        // Thumbnails are made again; only the module of the documents has them.
        let of_documents =
            self.name == "files" && (path.contains("/thumb.") || is_backup(path, backups));
        !temporary && !of_documents
    }
}

/// Whether a path is of a file that holds an earlier backup: `…/file_{storage_path}/…`.
fn is_backup(path: &str, backups: &[String]) -> bool {
    let Some((folders, _)) = path.rsplit_once('/') else { return false };
    let mut ids = folders.split('/').skip(1).filter_map(|part| part.strip_prefix("file_"));
    ids.any(|id| backups.iter().any(|backup| backup == id))
}

/// The folder that holds a document's versions.
pub fn document_folder(keeping: Keeping, tenant: i64, id: i64) -> String {
    let documents = MODULES[0].prefix(keeping, tenant);
    format!("{documents}/folder_{}/file_{id}", (id / 1000 + 1) * 1000)
}

/// The member of a file in the archive.
pub fn member(module: &str, path: &str) -> String {
    format!("storage/{module}/{path}")
}

/// The member of a file whose ordinary member is another tenant's.
pub fn other_member(tenant: i64, module: &str, path: &str) -> String {
    format!("extra/tenants/{tenant}/storage/{module}/{path}")
}

/// What a member made by [`other_member`] holds; None for any other member.
pub fn stored_of_other_member(member: &str) -> Option<StoredFile> {
    let (tenant, rest) = member.strip_prefix("extra/tenants/")?.split_once('/')?;
    let (module, path) = rest.strip_prefix("storage/")?.split_once('/')?;
    let module = MODULES.iter().find(|known| known.name == module)?;
    Some(StoredFile {
        module: module.name.to_owned(),
        domain: String::new(),
        path: path.to_owned(),
        tenant: tenant.parse().ok()?,
    })
}

/// A tenant's part of a path: `00/00/01` for 1, `-00/00/01` for -1, `0` for 0.
pub fn tenant_path(tenant: i64) -> String {
    if tenant == 0 {
        return "0".to_owned();
    }
    let sign = if tenant < 0 { "-" } else { "" };
    let digits = format!("{:06}", tenant.unsigned_abs());
    // Ids of more than six digits make the first part longer.
    let (first, rest) = digits.split_at(digits.len() - 4);
    let (second, third) = rest.split_at(2);
    format!("{sign}{first}/{second}/{third}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> &'static Module {
        MODULES.iter().find(|module| module.name == name).unwrap()
    }

    #[test]
    fn tenants_have_paths() {
        assert_eq!(tenant_path(1), "00/00/01");
        assert_eq!(tenant_path(123_456), "12/34/56");
        assert_eq!(tenant_path(-1), "-00/00/01");
        assert_eq!(tenant_path(0), "0");
    }

    #[test]
    fn modules_lie_where_docspace_keeps_them() {
        assert_eq!(module("files").prefix(Keeping::Disc, 2), "Products/Files/00/00/02");
        assert_eq!(module("whitelabel").prefix(Keeping::Disc, 2), "Studio/00/00/02/CoBranding");
        assert_eq!(module("room_logos").prefix(Keeping::Cloud, 2), "00/00/02/room_logos");
    }

    #[test]
    fn what_docspace_leaves_out_is_left_out() {
        let files = module("files");
        let backups = ["7".to_owned()];
        let carried = |path| files.carries(Keeping::Disc, path, &backups);
        assert!(carried("folder_1000/file_5/v1/content.docx"));
        assert!(!carried("folder_1000/file_5/v1/thumb.1280x720.webp"));
        assert!(!carried("folder_1000/file_7/v1/content.tar.gz"));
        assert!(carried("folder_1000/file_77/v1/content.docx"));
        assert!(!carried("temp/upload.bin"));
        assert!(carried("files_temp/x"));
        assert!(!files.carries(Keeping::Cloud, "files_temp/x", &[]));
        assert!(module("webplugins").carries(Keeping::Disc, "a/thumb.png", &backups));
        assert!(module("webplugins").carries(Keeping::Disc, "temp/a.js", &backups));
    }

    #[test]
    fn members_of_other_tenants_say_whose_they_are() {
        let member = other_member(-1, "logo", "a/b.png");
        let stored = stored_of_other_member(&member).unwrap();
        assert_eq!((stored.tenant, stored.module.as_str()), (-1, "logo"));
        assert_eq!(stored.path, "a/b.png");
        assert_eq!(stored_of_other_member("storage/logo/a.png"), None);
        assert_eq!(stored_of_other_member("extra/tenants/1/storage/nonsense/a"), None);
    }
}

//! The sources that a restore writes to: the portal's own, or another that the request names.

use archive::is_at_or_in;
use url::Url;

use crate::app::App;
use crate::catalog::ArchiveFilter;
use crate::config::{DatabaseConfig, Options, Secret};
use crate::ops::OpError;
use crate::portal::{INDEXES, KeptBackups, Portal, PortalError};
use crate::source::database::{self, Database};
use crate::source::files::Filesystem;

/// Where what an archive holds goes.
pub struct Targets {
    /// The databases, by what the archive calls them (None: the portal's own).
    pub databases: Vec<DatabaseTarget>,
    /// And after them the indexes, from position [`INDEXES`] on.
    pub filesystems: Vec<FilesystemTarget>,
    /// Whether this is the live portal, and not another place that was named.
    pub live: bool,
}

pub struct DatabaseTarget {
    pub archived: Option<String>,
    pub name: String,
    pub database: Box<dyn Database>,
}

pub struct FilesystemTarget {
    /// The position of the filesystem that it stands for.
    pub position: usize,
    pub name: String,
    pub filesystem: Filesystem,
    /// What must not be moved, relative to the root: storages, the catalog.
    pub kept: Vec<String>,
    /// Folders of backups that are kept too, unless the archive has something else there.
    pub backups: Vec<String>,
}

impl FilesystemTarget {
    /// All that stays as far as is known before the archive is read.
    pub fn kept_now(&self) -> Vec<String> {
        [self.kept.as_slice(), &self.backups].concat()
    }
}

impl Targets {
    /// All sources of the configuration; with `into` (a configured name, or a URL) only that one, in the place of
    /// the portal's own first of its kind.
    pub fn resolve(app: &App, into: Option<&str>) -> Result<Self, OpError> {
        match into {
            None => Self::own(app),
            Some(into) if into.contains("://") || into.starts_with("sqlite:") => {
                Self::at(app, into)
            }
            Some(name) => Self::named(app, name),
        }
    }

    fn own(app: &App) -> Result<Self, OpError> {
        let portal = &app.config.portal;
        let mut databases = Vec::new();
        for (position, config) in portal.database.iter().enumerate() {
            let archived = (position > 0).then(|| config.name.clone());
            databases.push(database_target(app, config, archived)?);
        }
        let filesystems =
            (0..portal.filesystem.len()).filter_map(|position| filesystem(app, position, position));
        let indexes = (0..portal.index.len()).filter_map(|position| index(app, position));
        let filesystems = filesystems.chain(indexes).collect();
        Ok(Self { databases, filesystems, live: true })
    }

    fn named(app: &App, name: &str) -> Result<Self, OpError> {
        let portal = &app.config.portal;
        if let Some(config) = portal.database.iter().find(|database| database.name == name) {
            let databases = vec![database_target(app, config, None)?];
            return Ok(Self { databases, filesystems: Vec::new(), live: false });
        }
        let position = portal.filesystem.iter().position(|filesystem| filesystem.name == name);
        let of_index = || {
            let position = portal.index.iter().position(|index| index.name == name)?;
            index(app, position)
        };
        let found = position.and_then(|position| filesystem(app, 0, position)).or_else(of_index);
        let Some(found) = found else {
            return Err(OpError::Invalid(format!(
                "{name:?} is neither a configured database nor a filesystem nor an index, nor a URL"
            )));
        };
        Ok(Self { databases: Vec::new(), filesystems: vec![found], live: false })
    }

    fn at(app: &App, url: &str) -> Result<Self, OpError> {
        let scheme = url.split(':').next().unwrap_or_default();
        if matches!(scheme, "mysql" | "mariadb" | "sqlite" | "postgres" | "postgresql") {
            let url = Secret::new(url.to_owned());
            let config = DatabaseConfig { name: "target".to_owned(), url };
            let databases = vec![database_target(app, &config, None)?];
            return Ok(Self { databases, filesystems: Vec::new(), live: false });
        }
        let parsed =
            Url::parse(url).map_err(|error| OpError::Invalid(format!("{url}: {error}")))?;
        // Options of a configured source at the same place, such as its credentials.
        let like = app.config.portal.filesystem.iter().find(|known| {
            known.url.scheme() == parsed.scheme() && known.url.host_str() == parsed.host_str()
        });
        let options = like.map_or_else(Options::default, |known| match parsed.scheme() {
            "file" => Options::default(),
            _ => known.options.clone(),
        });
        let filesystem = Filesystem::open(&parsed, &options)
            .map_err(|error| OpError::Invalid(error.to_string()))?
            .with_max_parts(app.config.storage.max_parts);
        let kept = Portal::kept_at(&app.config, &filesystem).map_err(|what| {
            OpError::Invalid(format!(
                "{parsed} is itself {what}: what lies there would be replaced; name a folder in it"
            ))
        })?;
        let target = FilesystemTarget {
            position: 0,
            name: "target".to_owned(),
            filesystem,
            kept,
            backups: Vec::new(),
        };
        Ok(Self { databases: Vec::new(), filesystems: vec![target], live: false })
    }

    /// Keeps the archives that the catalog knows, wherever a request let them lie. Of a bucket on a server that is not
    /// known any more the name is enough: what has an archive's key is one.
    pub async fn keep_archives(&mut self, app: &App) -> Result<(), OpError> {
        let filter = ArchiveFilter { with_missing: true, ..ArchiveFilter::default() };
        let known = app.catalog.archives().list(filter, u32::MAX, 0).await?;
        let urls: Vec<Url> =
            known.items.iter().filter_map(|known| known.url.parse().ok()).collect();
        for target in &mut self.filesystems {
            let inside = urls.iter().filter_map(|url| target.filesystem.may_cover(url));
            let inside: Vec<_> = inside
                .filter(|path| {
                    !path.is_empty() && !target.kept.iter().any(|kept| is_at_or_in(path, kept))
                })
                .collect();
            target.kept.extend(inside);
        }
        Ok(())
    }

    /// Keeps the backups that lie in DocSpace's documents from being replaced; returns them.
    pub async fn keep_backups(&mut self, app: &App) -> Result<KeptBackups, PortalError> {
        if !self.live {
            return Ok(KeptBackups::default());
        }
        let kept = app.portal.kept_backups().await?;
        if let Some(own) = self.filesystems.iter_mut().find(|target| target.position == 0) {
            own.backups.clone_from(&kept.folders);
        }
        Ok(kept)
    }

    pub fn database(&self, archived: Option<&str>) -> Option<&DatabaseTarget> {
        self.databases.iter().find(|target| target.archived.as_deref() == archived)
    }

    pub fn filesystem(&self, position: usize) -> Option<&FilesystemTarget> {
        self.filesystems.iter().find(|target| target.position == position)
    }
}

fn database_target(
    app: &App,
    config: &DatabaseConfig,
    archived: Option<String>,
) -> Result<DatabaseTarget, OpError> {
    let database = database::open(config, &app.config.backup.temp_dir)
        .map_err(|error| OpError::Invalid(error.to_string()))?;
    Ok(DatabaseTarget { archived, name: config.name.clone(), database })
}

fn filesystem(app: &App, archived: usize, position: usize) -> Option<FilesystemTarget> {
    Some(FilesystemTarget {
        position: archived,
        name: app.config.portal.filesystem.get(position)?.name.clone(),
        filesystem: app.portal.filesystem(position)?.clone(),
        kept: app.portal.kept(position),
        backups: Vec::new(),
    })
}

fn index(app: &App, position: usize) -> Option<FilesystemTarget> {
    let source = app.portal.indexes().get(position)?;
    Some(FilesystemTarget {
        position: INDEXES + position,
        name: source.name.clone(),
        filesystem: source.folder.clone(),
        kept: source.kept.clone(),
        backups: Vec::new(),
    })
}

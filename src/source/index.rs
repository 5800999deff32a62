//! Search indexes: folders that other programs write all the time. A backup takes a copy of one moment.
//!
//! A folder with a commit point of Lucene's is captured as that commit says: its files are never written again once
//! they are committed, so they are linked, where links are possible, and else copied. Of any other folder nothing is
//! promised, so it is copied, and what is listed, with sizes, times and numbers, must be the same before and after.
//! Whatever does not hold still is captured anew, and given up after a while: there is never a mixture.

mod capture;
mod lucene;
mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::files::{Content, FileMeta, FilesError, Filesystem};
use crate::config::Options;
use capture::Seen;
use place::Place;

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("index {url}: {message}")]
    Configuration { url: String, message: String },
    #[error("its folder {0} does not exist")]
    Missing(String),
    /// Others changed it each time that it was captured.
    #[error("{0} does not hold still long enough to be captured")]
    Unsteady(String),
    /// What is there cannot be captured as it is.
    #[error("{path}: {message}")]
    Refused { path: String, message: String },
    #[error("cannot read {path}: {message}")]
    Io { path: String, message: String },
    /// A file that should never be written again was.
    #[error("{0} was changed in place while it was copied")]
    Changed(String),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("stopped")]
    Stopped,
}

/// A folder of this machine that holds an index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    root: Arc<Path>,
    /// Relative to the root: storages, the catalog.
    excluded: Arc<[String]>,
    /// Where it is copied when the root's volume takes neither links nor folders of ours.
    temp: Arc<Path>,
}

impl Index {
    /// `url`: `file://`. `excluded` lies inside and is left out; `temp` is for copies where no links can be made.
    pub fn open(
        url: &Url,
        options: &Options,
        excluded: Vec<String>,
        temp: &Path,
    ) -> Result<Self, IndexError> {
        let wrong = |message: String| IndexError::Configuration { url: url.to_string(), message };
        if url.scheme() != "file" {
            return Err(wrong(
                "an index is a folder of this machine: write file:///path; object stores cannot be \
                 read as they were at one moment"
                    .to_owned(),
            ));
        }
        if let Some((name, _)) = options.iter().next() {
            return Err(wrong(format!("a folder has no option {name:?}")));
        }
        let root = url
            .to_file_path()
            .map_err(|()| wrong("write a path of this machine, as file:///path".to_owned()))?;
        Ok(Self { root: root.into(), excluded: excluded.into(), temp: temp.into() })
    }

    /// Whether the folder is there.
    pub async fn check(&self) -> Result<(), IndexError> {
        let root = Arc::clone(&self.root);
        blocking(move || capture::check(&root)).await
    }

    /// Captures all that lies in the folder as it is at one moment. `stop` ends it early.
    pub async fn capture(&self, stop: CancellationToken) -> Result<Capture, IndexError> {
        let this = self.clone();
        blocking(move || this.capture_now("", &stop)).await
    }

    /// Captures the one index that a search service uses: the folder itself, or of folders that are named by
    /// digits, such as `20260301021500`, the highest.
    pub async fn capture_current(&self, stop: CancellationToken) -> Result<Capture, IndexError> {
        let this = self.clone();
        blocking(move || {
            let folder = capture::current(&this.root)?;
            let capture = this.capture_now(&folder, &stop)?;
            match capture.files.iter().find(|file| file.meta.path.contains('/')) {
                Some(file) => Err(IndexError::Refused {
                    path: file.meta.path.clone(),
                    message: "the index has folders within, and its copy must be flat".to_owned(),
                }),
                None => Ok(capture),
            }
        })
        .await
    }

    fn capture_now(&self, folder: &str, stop: &CancellationToken) -> Result<Capture, IndexError> {
        self.sweep();
        let place = Place::create(&self.root, &self.temp)?;
        let excluded: Vec<_> = self
            .excluded
            .iter()
            .filter_map(|path| match folder {
                "" => Some(path.clone()),
                _ => path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned),
            })
            .collect();
        capture::tree(&self.root.join(folder), excluded, place, stop)
    }

    /// Removes what captures of killed processes left.
    pub fn sweep(&self) {
        place::sweep(&self.root, &self.temp);
    }
}

/// An index as it was at one moment; dropping it removes what it was captured in.
pub struct Capture {
    place: Place,
    files: Vec<Captured>,
    warnings: Vec<String>,
}

struct Captured {
    meta: FileMeta,
    seen: Seen,
    /// It shares the live file's content, and is no copy.
    linked: bool,
}

impl Capture {
    /// Its files and empty folders by their paths; of each folder's the commit point comes last.
    pub fn files(&self) -> impl Iterator<Item = &FileMeta> + Send {
        self.files.iter().map(|file| &file.meta)
    }

    /// The paths of its files, and whether each was linked; others were copied.
    pub fn ways(&self) -> impl Iterator<Item = (&str, bool)> {
        let files = self.files.iter().filter(|file| !file.meta.is_directory);
        files.map(|file| (file.meta.path.as_str(), file.linked))
    }

    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    /// What could not be captured and is no part of an index: links, sockets.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub async fn read(&self, file: &FileMeta) -> Result<Content, IndexError> {
        Ok(self.place.filesystem()?.read(file).await?.1)
    }

    /// To be asked after everything was read: whether nothing was written into a file meanwhile.
    pub async fn unchanged(&self) -> Result<(), IndexError> {
        let seen: Vec<_> =
            self.files.iter().map(|file| (file.meta.path.clone(), file.seen)).collect();
        let folder = self.place.path().to_path_buf();
        blocking(move || {
            for (path, seen) in seen {
                if !seen.is_of(&folder.join(&path)) {
                    return Err(IndexError::Changed(path));
                }
            }
            Ok(())
        })
        .await
    }
}

impl Place {
    fn filesystem(&self) -> Result<Filesystem, IndexError> {
        let path: PathBuf = std::path::absolute(self.path()).map_err(|error| failed("", error))?;
        let url = Url::from_file_path(&path).map_err(|()| IndexError::Refused {
            path: path.display().to_string(),
            message: "it is no path".to_owned(),
        })?;
        Ok(Filesystem::open(&url, &Options::default())?)
    }
}

fn failed(path: impl Into<String>, error: impl Into<std::io::Error>) -> IndexError {
    IndexError::Io { path: path.into(), message: error.into().to_string() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(failed("the index", std::io::Error::other(error))),
    }
}

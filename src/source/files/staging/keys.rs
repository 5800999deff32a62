//! Where things lie in a bucket while an attempt stages and swaps.

use object_store::path::{Path, PathPart};
use sha2::{Digest, Sha256};

use crate::source::files::{FilesError, STAGING_FOLDER};
use crate::source::restore::AttemptId;

/// The longest key that providers take, in bytes.
const LONGEST: usize = 1024;
/// Azure takes 254.
const MOST_PARTS: usize = 250;

#[derive(Debug, Clone)]
pub struct Keys {
    live: Path,
    attempt: Path,
}

impl Keys {
    pub fn new(root: &Path, attempt: &AttemptId) -> Self {
        let names = [STAGING_FOLDER, attempt.as_str()].map(PathPart::from);
        Self { live: root.clone(), attempt: root.parts().chain(names).collect() }
    }

    /// Below it lies all that the attempt made.
    pub fn attempt(&self) -> &Path {
        &self.attempt
    }

    pub fn live(&self, path: &str) -> Result<Path, FilesError> {
        below(&self.live, &[], path)
    }

    pub fn all_staged(&self) -> Path {
        self.made("new")
    }

    pub fn staged(&self, path: &str) -> Result<Path, FilesError> {
        self.aside("new", "new-long", path)
    }

    pub fn old(&self, path: &str) -> Result<Path, FilesError> {
        self.aside("old", "old-long", path)
    }

    pub fn all_names(&self) -> Path {
        self.made("names")
    }

    /// An object that holds a path whose staged object has a key that does not tell it; None: it does.
    pub fn name(&self, path: &str) -> Result<Option<Path>, FilesError> {
        let staged = self.staged(path)?;
        let is_short = staged.prefix_matches(&self.all_staged());
        Ok((!is_short).then(|| self.numbered("names", hash(path))))
    }

    pub fn all_uploads(&self) -> Path {
        self.made("uploads")
    }

    /// A note of an upload that is under way.
    pub fn upload(&self) -> Path {
        self.numbered("uploads", uuid::Uuid::new_v4().simple().to_string())
    }

    /// The key of a path with something before it, or what stands for it where that would be too long.
    fn aside(
        &self,
        folder: &'static str,
        long: &'static str,
        path: &str,
    ) -> Result<Path, FilesError> {
        let key = below(&self.attempt, &[folder], path)?;
        let fits = key.as_ref().len() <= LONGEST && key.parts().count() <= MOST_PARTS;
        Ok(if fits { key } else { self.numbered(long, hash(path)) })
    }

    /// One object of the journal.
    pub fn journal(&self, number: u64) -> Path {
        self.numbered("journal", number.to_string())
    }

    /// Says that the journal is whole, and of how many objects.
    pub fn ready(&self) -> Path {
        self.made("ready")
    }

    /// Says that `old` has a copy of everything that will be changed.
    pub fn kept(&self) -> Path {
        self.made("kept")
    }

    /// Says that the swap is complete.
    pub fn swapped(&self) -> Path {
        self.made("swapped")
    }

    fn numbered(&self, folder: &'static str, name: String) -> Path {
        self.attempt.parts().chain([PathPart::from(folder), name.into()]).collect()
    }

    fn made(&self, name: &'static str) -> Path {
        self.attempt.parts().chain([PathPart::from(name)]).collect()
    }
}

/// As short as can be, and nobody finds two paths of one.
fn hash(path: &str) -> String {
    hex::encode(&Sha256::digest(path)[..16])
}

fn below(base: &Path, names: &[&'static str], path: &str) -> Result<Path, FilesError> {
    let relative = Path::parse(path).map_err(|error| FilesError::Refused {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    let names = names.iter().map(|name| PathPart::from(*name));
    Ok(base.parts().chain(names).chain(relative.parts()).collect())
}

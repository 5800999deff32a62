//! Where things lie in a bucket while an attempt stages and swaps.

use object_store::path::{Path, PathPart};

use crate::source::files::{FilesError, STAGING_FOLDER};
use crate::source::restore::AttemptId;

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
        below(&self.attempt, &["new"], path)
    }

    pub fn old(&self, path: &str) -> Result<Path, FilesError> {
        below(&self.attempt, &["old"], path)
    }

    /// One object of the journal.
    pub fn journal(&self, number: u64) -> Path {
        self.attempt.parts().chain([PathPart::from("journal"), number.to_string().into()]).collect()
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

    fn made(&self, name: &'static str) -> Path {
        self.attempt.parts().chain([PathPart::from(name)]).collect()
    }
}

fn below(base: &Path, names: &[&'static str], path: &str) -> Result<Path, FilesError> {
    let relative = Path::parse(path).map_err(|error| FilesError::Refused {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    let names = names.iter().map(|name| PathPart::from(*name));
    Ok(base.parts().chain(names).chain(relative.parts()).collect())
}

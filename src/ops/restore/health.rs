//! Whether files are where they should be.

use futures::StreamExt;

use super::run::RunError;
use super::targets::FilesystemTarget;
use crate::source::files::Listed;

/// How many files and bytes lie in some folders now.
pub async fn count(target: &FilesystemTarget, folders: &[String]) -> Result<(u64, u64), RunError> {
    let (mut files, mut bytes) = (0, 0);
    for folder in folders {
        let mut listing = target.filesystem.list_except(folder, target.kept.clone());
        while let Some(listed) = listing.next().await {
            if let Listed::File(file) = listed?
                && !file.is_directory
            {
                files += 1;
                bytes += file.size;
            }
        }
    }
    Ok((files, bytes))
}

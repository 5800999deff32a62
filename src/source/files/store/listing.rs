//! What a bucket holds.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::ready;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::{Bucket, CONCURRENT, invalid, meta, real, relative};
use crate::source::files::{Excluded, FileMeta, FilesError, Listed, Listing, once, quoted};

impl Bucket {
    pub fn list(&self, prefix: &str, excluded: Excluded) -> Listing {
        let full = match self.full(prefix) {
            Ok(full) => full,
            Err(error) => return once(error),
        };
        let (root, store, url) = (self.prefix.clone(), self.store.clone(), self.url.clone());
        let words = self.words.clone();
        let of_everything = full == root;
        let mut empty = HashSet::new();
        let found = self.store.list(Some(&full));
        let files = found
            .map_err(move |error| invalid(&url, words.explain("cannot list", &error)))
            .map_ok(move |object| {
                let path = relative(&root, &object.location)
                    .filter(|path| !path.is_empty() && !excluded.contains(&real(path)));
                listed(store.clone(), object, path)
            })
            .try_buffered(CONCURRENT)
            .try_filter_map(move |listed| {
                // `a` and `a/` have one path.
                ready(Ok(listed.filter(|listed| match listed {
                    Listed::File(file) if file.size == 0 => empty.insert(file.path.clone()),
                    _ => true,
                })))
            });
        let (unnamable, prefix) = (self.unnamable.clone(), full.to_string());
        let left_out = stream::once(async move {
            let (keys, more) = unnamable.take(&prefix);
            let what = "left out: no request can ask for a name with . or .. between slashes";
            let keys = keys.into_iter().map(move |key| format!("{} is {what}", quoted(&key)));
            let more = (more > 0).then(|| format!("{more} more keys are {what}"));
            stream::iter(keys.chain(more).map(|text| Ok(Listed::Skipped(text))))
        });
        let files = files.chain(left_out.flatten());
        match of_everything {
            true => warn_if_empty(files.boxed(), self.url.to_string()),
            false => files.boxed(),
        }
    }
}

async fn listed(
    store: Arc<dyn ObjectStore>,
    object: ObjectMeta,
    path: Option<String>,
) -> Result<Option<Listed>, FilesError> {
    let Some(path) = path else { return Ok(None) };
    let is_directory = match object.size {
        0 => match marks(&*store, &object).await {
            Some(is_directory) => is_directory,
            None => return Ok(None),
        },
        _ => false,
    };
    Ok(Some(Listed::File(FileMeta { is_directory, ..meta(path, object) })))
}

/// An empty object whose own name answers nothing is `name/`, which consoles make to show a folder; None: it is that,
/// beside a file of the name.
async fn marks(store: &dyn ObjectStore, object: &ObjectMeta) -> Option<bool> {
    match store.head(&object.location).await {
        Err(object_store::Error::NotFound { .. }) => Some(true),
        Ok(file) if file.size > 0 => None,
        _ => Some(false),
    }
}

/// A mistyped prefix lists as nothing at all; nobody should find that out at the restore.
fn warn_if_empty(files: Listing, url: String) -> Listing {
    let warned = stream::unfold((files.fuse(), Some(url)), |(mut files, empty)| async move {
        match files.next().await {
            Some(found) => Some((found, (files, None))),
            None => {
                let warning = Listed::Skipped(format!("{} holds no files", empty?));
                Some((Ok(warning), (files, None)))
            }
        }
    });
    warned.boxed()
}

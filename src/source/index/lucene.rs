//! Lucene's commit point: `segments_N`, N in base 36, names the segments that make up the index at one moment
//! (<https://lucene.apache.org/core/2_9_4/fileformats.html>). All files of a segment begin with its name and are never
//! written again. In every version since 2.3 the commit point's last eight bytes are the CRC-32 of all before them,
//! big-endian; so one that is still being written is told from a complete one.

const COMMIT: &str = "segments_";
/// The most bytes of a commit point.
pub const LONGEST: u64 = 64 << 20;

/// A complete commit point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub name: String,
    content: Vec<u8>,
    /// Whether it can be told which segments it names.
    readable: bool,
}

/// The N of `segments_N`.
pub fn generation(name: &str) -> Option<u64> {
    let number = name.strip_prefix(COMMIT)?;
    let plain = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    if !number.bytes().all(plain) {
        return None;
    }
    u64::from_str_radix(number, 36).ok()
}

/// What a file in a folder with a commit point is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a segment of the commit; what the commit names of it was written before and never will be again.
    Committed,
    /// Another commit's, one that is being made, a lock: no part of it.
    Foreign,
    /// Not Lucene's own.
    Beside,
}

impl Commit {
    /// None when the content is not complete.
    pub fn new(name: &str, content: Vec<u8>) -> Option<Self> {
        let (body, sum) = content.split_last_chunk::<8>()?;
        let complete = u64::from_be_bytes(*sum) == u64::from(libdeflater::crc32(body));
        complete.then(|| Self { name: name.to_owned(), content, readable: true })
    }

    /// One that has no checksum and is not being written either: other writers' and old Lucene's.
    pub fn unreadable(name: &str, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content, readable: false }
    }

    /// The same, of a folder with these files: where it names no segment of all that are there, it names them in
    /// another way than Lucene does.
    #[must_use]
    pub fn among<'n>(mut self, mut files: impl Iterator<Item = &'n str>) -> Self {
        self.readable &= files.any(|file| segment(file).is_some_and(|segment| self.names(segment)));
        self
    }

    pub fn role(&self, file: &str) -> Role {
        if file == self.name {
            return Role::Committed;
        }
        // segments.gen is written in place, and only a hint: Lucene finds the newest commit without it.
        if generation(file).is_some()
            || file == "segments.gen"
            || file.starts_with("pending_segments_")
            || file.ends_with(".lock")
        {
            return Role::Foreign;
        }
        match segment(file) {
            Some(segment) if !self.readable || self.names(segment) => Role::Committed,
            Some(_) => Role::Foreign,
            None => Role::Beside,
        }
    }

    /// Names are written with their length before them.
    fn names(&self, segment: &str) -> bool {
        let Ok(length) = u8::try_from(segment.len()) else { return false };
        let mut written = vec![length];
        written.extend_from_slice(segment.as_bytes());
        memchr::memmem::find(&self.content, &written).is_some()
    }
}

/// Whether a file is one of several generations of its segment's, such as `_1a_2.del`: a commit names but one of them.
pub fn has_generation(file: &str) -> bool {
    segment(file).is_some_and(|segment| file[segment.len()..].starts_with('_'))
}

/// The segment that a file belongs to: `_1a` of `_1a.cfs` and `_1a_2.del`.
fn segment(file: &str) -> Option<&str> {
    let number = file.strip_prefix('_')?;
    let plain = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let length = number.find(|c| !plain(c)).unwrap_or(number.len());
    let ends = number[length..].starts_with(['.', '_']);
    (length > 0 && ends).then(|| &file[..=length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(segments: &[&str]) -> Commit {
        let mut content = vec![0xff, 0xff, 0xff, 0xf7];
        for segment in segments {
            content.push(segment.len() as u8);
            content.extend_from_slice(segment.as_bytes());
            content.extend_from_slice(b"abc");
        }
        let sum = u64::from(libdeflater::crc32(&content));
        content.extend_from_slice(&sum.to_be_bytes());
        Commit::new("segments_2", content).unwrap()
    }

    #[test]
    fn generations_are_in_base_36() {
        assert_eq!(generation("segments_1"), Some(1));
        assert_eq!(generation("segments_10"), Some(36));
        for other in
            ["segments.gen", "segments_", "segments_A", "segments_+1", "segments", "_1.cfs"]
        {
            assert_eq!(generation(other), None, "{other}");
        }
    }

    #[test]
    fn an_incomplete_commit_is_none() {
        let whole = commit(&["_0"]).content;
        for length in 0..whole.len() {
            assert!(Commit::new("segments_1", whole[..length].to_vec()).is_none(), "{length}");
        }
    }

    #[test]
    fn of_a_commit_that_cannot_be_read_all_segments_are() {
        let text = Commit::unreadable("segments_2", b"_0 _1".to_vec());
        let strange = commit(&["_7"]).among(["_0.cfs", "segments_2"].into_iter());
        for commit in [text, strange] {
            assert_eq!(commit.role("_0.cfs"), Role::Committed);
            assert_eq!(commit.role("segments_2"), Role::Committed);
            assert_eq!(commit.role("segments_1"), Role::Foreign);
            assert_eq!(commit.role("write.lock"), Role::Foreign);
        }
        let known = commit(&["_0"]).among(["_0.cfs", "_1.cfs"].into_iter());
        assert_eq!(known.role("_1.cfs"), Role::Foreign);
    }

    #[test]
    fn files_of_a_commit_are_told_from_others() {
        let commit = commit(&["_0", "_1a"]);
        for file in ["segments_2", "_0.cfs", "_0_1.del", "_1a.fdt", "_1a.s1", "_0_Lucene90_0.dvd"] {
            assert_eq!(commit.role(file), Role::Committed, "{file}");
        }
        for file in
            ["segments_1", "segments.gen", "write.lock", "_1.cfs", "_1ab.cfs", "pending_segments_3"]
        {
            assert_eq!(commit.role(file), Role::Foreign, "{file}");
        }
        assert!(
            has_generation("_1a_2.del") && !has_generation("_1a.del") && !has_generation("a_b")
        );
        for file in ["index.version", "_", "_x", "notes.txt", "_A.x"] {
            assert_eq!(commit.role(file), Role::Beside, "{file}");
        }
    }
}

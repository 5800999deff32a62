//! Cuts rows into runs by what they say, so that a row that is added, changed or removed moves no cut but its own
//! neighbours': the next incremental backup finds all other runs again.

use twox_hash::XxHash3_64;

/// The hash of a row that [`Cutter::cuts`] takes one half of.
pub fn hash(row: &[u8]) -> u64 {
    XxHash3_64::oneshot(row)
}

/// Says after which rows to cut.
#[derive(Debug)]
pub struct Cutter {
    /// How many bytes, or else rows, a run has on average.
    goal_bytes: u64,
    goal_rows: u64,
    bytes: u64,
    rows: u64,
}

impl Cutter {
    /// For the runs that incremental backups tell apart.
    pub fn chunks() -> Self {
        Self::new(32 << 10, 1000)
    }

    /// Runs of about `goal_bytes`, or else of `goal_rows`: at least a quarter of that, and at most eight times.
    pub fn new(goal_bytes: u64, goal_rows: u64) -> Self {
        Self { goal_bytes, goal_rows, bytes: 0, rows: 0 }
    }

    /// Takes the next row; true: a run ends with it. `hash`: 32 bits of its hash. A longer row ends a run more
    /// probably, so that runs are as long whatever rows they are made of.
    pub fn cuts(&mut self, hash: u32, length: usize) -> bool {
        let (hash, length) = (u64::from(hash), (length as u64).min(1 << 30));
        self.bytes += length;
        self.rows += 1;
        let drawn = hash * self.goal_bytes < length << 32 || hash * self.goal_rows < 1 << 32;
        let enough = self.bytes >= self.goal_bytes / 4 || self.rows >= self.goal_rows / 4;
        let cut =
            enough && drawn || self.bytes >= 8 * self.goal_bytes || self.rows >= 8 * self.goal_rows;
        if cut {
            self.restart();
        }
        cut
    }

    /// A run ended for another reason.
    pub fn restart(&mut self) {
        (self.bytes, self.rows) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(rows: &[String]) -> Vec<String> {
        let mut cutter = Cutter::new(1000, 100);
        let cut = |row: &&String| cutter.cuts(hash(row.as_bytes()) as u32, row.len());
        rows.iter().filter(cut).cloned().collect()
    }

    #[test]
    fn cuts_are_where_they_were_around_a_change() {
        let rows: Vec<String> =
            (0..10_000).map(|n| format!("row {n}: {}", "x".repeat(n % 40))).collect();
        let before = cuts(&rows);
        assert!((200..600).contains(&before.len()), "{}", before.len());
        let mut changed = rows.clone();
        changed[5000] = "another".to_owned();
        changed.remove(2000);
        changed.insert(7000, "new".to_owned());
        let after = cuts(&changed);
        let lost = before.iter().filter(|cut| !after.contains(cut)).count();
        assert!(lost <= 9, "{lost}");
    }

    #[test]
    fn rows_that_are_all_the_same_are_cut_too() {
        let rows = vec!["same".to_owned(); 10_000];
        assert!(cuts(&rows).len() >= 10);
    }
}

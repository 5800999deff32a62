//! Whether there is room beside the live portal: sources on one volume share what is free there.

use std::collections::BTreeMap;

use super::plan::RestorePlan;
use crate::source::restore::Space;

#[derive(Debug, Default)]
pub struct Needs {
    bytes: u64,
    volumes: BTreeMap<u64, Need>,
}

#[derive(Debug, Default)]
struct Need {
    bytes: u64,
    free: u64,
    of: Vec<String>,
}

impl Needs {
    /// `of`: what needs it. `space`: of its volume, where that can be told.
    pub fn add(&mut self, of: String, bytes: u64, space: Option<Space>) {
        self.bytes += bytes;
        let Some(Space { volume, free }) = space else { return };
        let need = self.volumes.entry(volume).or_default();
        need.free = if need.of.is_empty() { free } else { need.free.min(free) };
        need.bytes += bytes;
        need.of.push(of);
    }

    pub fn tell(self, plan: &mut RestorePlan) {
        plan.space_needed = self.bytes;
        plan.space_available = self.volumes.values().map(|need| need.free).min();
        plan.problems.extend(self.problems());
    }

    pub fn problems(&self) -> Vec<String> {
        let short = self.volumes.values().filter(|need| need.free < need.bytes);
        let text = |need: &Need| {
            format!(
                "not enough space for {}: some {} bytes are needed, {} are free",
                need.of.join(" and "),
                need.bytes,
                need.free
            )
        };
        short.map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_one_volume_share_its_space() {
        let on = |volume, free| Some(Space { volume, free });
        let mut needs = Needs::default();
        needs.add("database a".to_owned(), 60, on(1, 100));
        needs.add("filesystem b".to_owned(), 70, on(2, 100));
        needs.add("database c".to_owned(), 1000, None);
        assert_eq!(needs.problems(), Vec::<String>::new());
        needs.add("filesystem d".to_owned(), 60, on(1, 99));
        assert_eq!(
            needs.problems(),
            [
                "not enough space for database a and filesystem d: some 120 bytes are needed, 99 are free"
            ]
        );
        let mut plan = RestorePlan::default();
        needs.tell(&mut plan);
        assert_eq!((plan.space_needed, plan.space_available), (1190, Some(99)));
    }
}

//! A point after every change that a swap, its undoing or its end makes, so that tests can stop it there as a kill
//! would.

use rustix::io::Errno;

#[derive(Debug, Clone, Default)]
pub struct Steps {
    #[cfg(test)]
    left: Option<std::sync::Arc<std::sync::atomic::AtomicUsize>>,
}

impl Steps {
    /// Stops after `count` changes, at least one.
    #[cfg(test)]
    pub fn limited(count: usize) -> Self {
        Self { left: Some(std::sync::Arc::new(count.into())) }
    }

    /// To be called after each change.
    #[cfg(test)]
    pub fn step(&self) -> Result<(), Errno> {
        let last = |left: &std::sync::atomic::AtomicUsize| {
            left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1
        };
        if self.left.as_deref().is_some_and(last) { Err(Errno::INTR) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub fn step(&self) -> Result<(), Errno> {
        Ok(())
    }
}

//! What the system is asked for: that the threads of jobs make way for others, and that memory goes back.

/// On Linux niceness belongs to a thread (setpriority(2), "C library/kernel differences"); threads that
/// this one starts, such as those that compress, inherit it.
pub(super) fn be_nice(by: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(by) {
        tracing::debug!(%error, "the priority of a thread could not be lowered");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = by;
}

/// Gives the memory that a job has freed back to the system: glibc keeps it, for each thread apart, and the next job
/// would come on top.
pub(super) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it takes no pointers, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

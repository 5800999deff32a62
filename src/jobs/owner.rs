//! Who runs a job. A process that was killed on this machine is found out at once, without waiting for
//! its lease; everywhere else only the lease tells.

use sha2::{Digest, Sha256};

/// The name under which this process owns jobs: a mark of the machine (host, boot and pid namespace, so
/// that containers are machines of their own), its pid, and when it started, because pids are used again.
pub(super) fn this_process() -> String {
    let pid = std::process::id();
    let started = process(pid).map_or(0, |process| process.started);
    format!("{}:{pid}:{started}", machine().unwrap_or_else(|| format!("?{pid}")))
}

/// Whether the process that has this name is certainly no more.
pub(super) fn is_dead(owner: &str) -> bool {
    let mut parts = owner.split(':');
    let (Some(place), Some(pid), Some(started)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Ok(pid), Ok(started)) = (pid.parse::<u32>(), started.parse::<u64>()) else { return false };
    if started == 0 || machine().is_none_or(|machine| machine != place) {
        return false;
    }
    match process(pid) {
        Some(process) => process.started != started || process.ended,
        // Other users' processes may be hidden in /proc, but not from this question.
        None => {
            i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).is_some_and(|pid| {
                rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
            })
        }
    }
}

/// None where /proc does not say; such machines are never taken for one another.
fn machine() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).ok();
    let host = read("/proc/sys/kernel/hostname")?;
    let boot = read("/proc/sys/kernel/random/boot_id")?;
    let pids = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let digest = Sha256::digest(format!("{host}{boot}{}", pids.display()));
    Some(hex::encode(&digest[..8]))
}

struct Process {
    /// Clock ticks after boot.
    started: u64,
    /// Killed, and only waiting for its parent to notice.
    ended: bool,
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)): after the name in parentheses, which may hold anything,
/// come the state (3) and, among others, the start time (22).
fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some(Process { started, ended: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_of_this_machine_are_dead() {
        let own = this_process();
        assert!(own.len() <= 64, "{own}");
        assert!(!is_dead(&own));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let started = process(child.id()).unwrap().started;
        let place = own.split(':').next().unwrap();
        let name = format!("{place}:{}:{started}", child.id());
        assert!(!is_dead(&name));
        let another = format!("{place}:{}:{}", child.id(), started + 1);
        assert!(is_dead(&another), "the pid was used again");
        child.kill().unwrap();
        while !is_dead(&name) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(is_dead(&name), "also when nothing of it is left");
        assert!(!is_dead(&format!("another:{}:{started}", child.id())));
        for name in ["", "x", "process 1 worker 2", &format!("{place}:1"), &format!("{place}:x:1")]
        {
            assert!(!is_dead(name), "{name}");
        }
    }
}

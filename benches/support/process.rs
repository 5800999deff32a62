//! What Linux knows of a running process (proc(5)).

use std::fs;
use std::time::Duration;

use super::Result;

/// What a process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// Bytes that it read and wrote, from wherever: disk, cache or socket.
    pub read: u64,
    pub written: u64,
}

impl Usage {
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            read: self.read - earlier.read,
            written: self.written - earlier.written,
        }
    }
}

pub fn usage(pid: u32) -> Result<Usage> {
    Ok(Usage {
        cpu: cpu(pid)?,
        read: field(&fs::read_to_string(format!("/proc/{pid}/io"))?, "rchar:")?,
        written: field(&fs::read_to_string(format!("/proc/{pid}/io"))?, "wchar:")?,
    })
}

pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name stands in brackets and may hold spaces: count from behind it.
    let rest = stat.rsplit_once(')').ok_or("cannot read /proc/PID/stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The largest amount of memory that the process has had at once (resident), in bytes.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(field(&status, "VmHWM:")? * 1024)
}

/// Begins a new measurement of the peak; without the right to do so the old peak stays, which is
/// never too low.
pub fn forget_peak_memory(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The id of the database server, if it runs on this machine.
pub fn mariadb() -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        matches!(name.trim(), "mariadbd" | "mysqld").then_some(pid)
    })
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next());
    Ok(value.ok_or_else(|| format!("/proc has no {name}"))?.parse()?)
}

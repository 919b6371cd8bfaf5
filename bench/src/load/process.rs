//! Processor time and memory of a process, as the kernel accounts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Fields of `stat` before its 14th, counted behind the name, which may hold anything.
const FIELDS_BEFORE_UTIME: usize = 11;

/// User and system time of a whole process so far. Its step is a clock tick, ten milliseconds.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = behind_name.split_ascii_whitespace().skip(FIELDS_BEFORE_UTIME);
    let mut field = || fields.next()?.parse::<u64>().ok();
    let (user, system) = field().zip(field()).context("/proc/PID/stat is cut")?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64((user + system) as f64 / per_second as f64))
}

/// Resident memory, bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context("/proc/PID/status has no VmRSS")? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let mut work = 1_u64;
        while cpu_time(std::process::id()).expect("this process") == Duration::ZERO {
            for step in 0..1_000_000_u64 {
                work = std::hint::black_box(work.wrapping_mul(step | 1));
            }
        }
        assert!(resident_bytes(std::process::id()).expect("this process") > 100_000);
    }
}

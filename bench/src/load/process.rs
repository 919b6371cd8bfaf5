//! Processor time and memory of a process, as the kernel accounts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Fields of `stat` before its 14th, counted behind the name, which may hold anything.
const FIELDS_BEFORE_UTIME: usize = 11;

/// Of the line of all processors: user, nice, system, idle, iowait, irq, softirq, steal. What follows is counted in
/// them already.
const STAT_FIELDS: usize = 8;

/// Where idle is among them; iowait follows.
const IDLE: usize = 3;

/// Above this share of the processors in others' use, rates and latencies are those of a busy machine.
pub const QUIET_MAX: f64 = 0.1;

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

/// The share of the machine's processors that is in use for the next `pause`, by whomever; waits for that
/// long.
pub fn busy_share(pause: Duration) -> Result<f64> {
    let (busy, all) = ticks()?;
    std::thread::sleep(pause);
    let (busy_now, all_now) = ticks()?;
    Ok((busy_now - busy) as f64 / (all_now - all).max(1) as f64)
}

/// Of all processors since the start of the machine: in use, and in all. Waiting for a disk is not in use; what
/// the host of a virtual machine took is.
fn ticks() -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let fields: Vec<u64> = line
        .context("/proc/stat has no line of all processors")?
        .split_ascii_whitespace()
        .take(STAT_FIELDS)
        .map_while(|field| field.parse().ok())
        .collect();
    let all: u64 = fields.iter().sum();
    let waits: u64 = fields.iter().skip(IDLE).take(2).sum();
    Ok((all - waits, all))
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

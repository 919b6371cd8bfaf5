//! Who holds a port that the server wanted.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// A process that listens on a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// What to tell the operator about an address that is in use.
pub fn explain(addr: SocketAddr, remedy: &str) -> String {
    let port = addr.port();
    let advice = format!("stop it, or {remedy}");
    match find(port) {
        Some(holder) => format!("port {port} is held by {holder}: {advice}"),
        None => format!("port {port} is in use by a process of another user or place: {advice}"),
    }
}

/// The process that listens on `port`, if `/proc` shows it to this user.
pub fn find(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let inodes: Vec<u64> =
        tables.iter().flatten().flat_map(|table| listening_inodes(table, port)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(*pid, &inodes))?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
    Some(Holder { pid, command })
}

/// Inodes of sockets that listen on `port`, from the text of `/proc/net/tcp` or `tcp6`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
        let listens = *columns.get(3)? == LISTEN;
        let same = u16::from_str_radix(local_port, 16) == Ok(port);
        (listens && same).then(|| columns.get(9)?.parse().ok())?
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Whether process `pid` has one of the sockets open.
fn holds(pid: u32, inodes: &[u64]) -> bool {
    let Ok(files) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else {
        return false; // gone, or another user's
    };
    let inode =
        |target: &str| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
    let targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter_map(|target| inode(target.to_str()?)).any(|inode| inodes.contains(&inode))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{explain, find, listening_inodes};

    #[test]
    fn the_holder_of_a_port_is_named() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(addr) else { continue }; // no IPv6 here
            let addr = listener.local_addr().unwrap();
            let holder = find(addr.port()).unwrap();
            assert_eq!(holder.pid, std::process::id());
            let text = explain(addr, "use another port");
            let expected = format!("port {} is held by process {} (", addr.port(), holder.pid);
            assert!(text.starts_with(&expected), "{text}");
        }
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n   0: 0100007F:0885 00000000:0000 0A 00000000:00000000 \
                     00:00000000 00000000  1000        0 4711 1 0\n   1: 0100007F:0885 \
                     0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 \
                     1 0\nrubbish\n";
        assert_eq!(listening_inodes(table, 2181), [4711]);
        assert_eq!(listening_inodes(table, 2182), [0; 0]);
    }
}

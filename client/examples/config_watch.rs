//! Follows one node: prints its data now and after every change, across reconnects.
//!
//! A watch tells that something changed, not what: several changes may be one event, so the loop
//! reads and re-arms in one request, and never trusts an event to carry state.
//!
//! `cargo run -p farwatch-client --example config_watch -- host:port /path`

use std::sync::mpsc;

use farwatch_client::{Client, ClientError, ErrorCode, Event, NodeData, Options, SessionState};

/// Calls `changed` with the node's state now and after changes, until it returns `false`.
pub fn watch(
    connect_string: &str,
    path: &str,
    mut changed: impl FnMut(&NodeData) -> bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, events) = mpsc::channel();
    let options = Options::default().on_event(move |event| drop(sender.send(event)));
    let client = Client::open(connect_string, options)?;
    loop {
        match client.get(path, true) {
            Ok(data) => {
                if !changed(&data) {
                    return Ok(());
                }
            }
            Err(ClientError::Server(ErrorCode::NoNode)) => {
                // Not there yet, or no more: its creation is what we wait for.
                if client.exists(path, true)?.is_some() {
                    continue;
                }
            }
            Err(ClientError::ConnectionLoss { .. }) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event {
                Event::Node(event) if event.path == path => break,
                Event::Session(SessionState::Expired) => {
                    return Err(ClientError::SessionExpired.into());
                }
                Event::Node(_) | Event::Session(_) => {}
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(servers), Some(path)) = (args.next(), args.next()) else {
        return Err("usage: config_watch host:port[,host:port…][/chroot] /path".into());
    };
    watch(&servers, &path, |data| {
        let text = String::from_utf8_lossy(data.data.as_deref().unwrap_or_default());
        println!("version {}: {text}", data.stat.version);
        true
    })
}

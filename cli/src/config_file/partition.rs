//! What a server does for its clients without a leader: `farwatch.onPartition`, and ZooKeeper's
//! `readonlymode.enabled`.

use farwatch_core::node::OnPartition;
use farwatch_observer::config::{ServerConfig, ServerRole};

use super::{ConfigError, Fault, Reader};

/// The key, and the one that is taken beside it, as its neighbours `maxStaleness` and `writeWaitMs`
/// have no prefix.
const KEYS: [&str; 2] = ["farwatch.onPartition", "onPartition"];

impl Reader<'_> {
    /// Chooses by key, else by ZooKeeper's, else by the server's role, which must be known.
    pub(super) fn partition(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let mut read_only = false;
        self.settings.switch_into("readonlymode.enabled", &mut read_only);
        config.on_partition = match config.role {
            _any if read_only => OnPartition::ReadOnly,
            ServerRole::Observer => OnPartition::Serve,
            ServerRole::Participant => OnPartition::Bounded,
        };
        let [first, second] = KEYS.map(|key| self.settings.take(key));
        if let (Some(first), Some(second)) = (&first, &second)
            && first.value != second.value
        {
            return Err(first.fault(Fault::Contradicts { other: second.place.to_string() }));
        }
        let Some(setting) = first.or(second) else { return Ok(()) };
        config.on_partition = match setting.value.to_ascii_lowercase().as_str() {
            "serve" => OnPartition::Serve,
            "readonly" => OnPartition::ReadOnly,
            "disconnect" => OnPartition::Disconnect,
            _ => {
                let (value, expected) = (setting.value.clone(), "serve, readonly or disconnect");
                return Err(setting.fault(Fault::Word { value, expected }));
            }
        };
        if read_only && config.on_partition != OnPartition::ReadOnly {
            let text = "readonlymode.enabled asks for `readonly`, and this key wins".to_owned();
            self.settings.notice(setting.place, text);
        }
        Ok(())
    }
}

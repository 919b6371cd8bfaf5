//! Whether the ensemble goes by the list of members that this server was configured with.

use std::time::Duration;

use farwatch_core::prepare::CONFIG_PATH;

use super::Core;

/// A leader has written its own list into the tree by then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

impl Core {
    /// Warns where the ensemble has another list than this server. A leader writes its own.
    pub(super) fn compare_lists(&mut self) {
        let follows = self.node.is_serving() && !self.node.zab().is_leading();
        if !follows || self.role_since.elapsed() < WRITTEN_WITHIN {
            return;
        }
        let Some(config) = &self.shared.config_node else { return };
        let Some(node) = self.node.writer().get(CONFIG_PATH) else { return };
        if self.list_compared == Some(node.mzxid()) {
            return;
        }
        self.list_compared = Some(node.mzxid());
        if let Some((ensembles, own)) = config.others(&node) {
            tracing::warn!(
                "the ensemble's list names the servers {ensembles}, that of this server {own}. Lists with different \
                 voters count different quorums: make them the same and restart the servers one after the other"
            );
        }
    }
}

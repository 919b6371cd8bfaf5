//! The names of settings: which of two names works in ZooKeeper, and which settings have no effect
//! here.

/// Names of the Administrator's Guide that have no effect in a `zoo.cfg` of ZooKeeper, and the name
/// that has. Both are taken here.
const GUIDE_NAMES: &[(&str, &str)] = &[
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("throttledOpWaitTime", "throttled_op_wait_time"),
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("maxConcurrentSnapSyncs", "leader.maxConcurrentSnapSyncs"),
    ("maxConcurrentDiffSyncs", "leader.maxConcurrentDiffSyncs"),
    ("maxTimeToWaitForEpoch", "leader.maxTimeToWaitForEpoch"),
    ("outstandingHandshake.limit", "netty.server.outstandingHandshake.limit"),
    ("advancedFlowControlEnabled", "netty.advancedFlowControl.enabled"),
];

/// The name that the server knows `written` by: the guide's names and a leading `zookeeper.` are
/// resolved.
pub fn effective(written: &str) -> &str {
    let bare = written.strip_prefix("zookeeper.").unwrap_or(written);
    GUIDE_NAMES.iter().find(|(guide, _)| *guide == bare).map_or(bare, |(_, name)| name)
}

/// Something that ZooKeeper has and this server has not, or has no need for.
#[derive(Debug)]
pub struct Absent {
    /// What the operator reads, once.
    pub text: &'static str,
    /// Names of its settings; one that ends in `*` is the start of several.
    names: &'static [&'static str],
}

/// What is absent behind the setting `name`, if ZooKeeper knows such a setting.
pub fn absent(name: &str) -> Option<&'static Absent> {
    let is = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    ABSENT.iter().find(|absent| absent.names.iter().any(|pattern| is(pattern)))
}

const ABSENT: &[Absent] = &[
    Absent {
        text: "there is no TLS in this release: keep the port private, or put a TLS proxy in front",
        names: &[
            "ssl.*",
            "sslQuorum*",
            "portUnification",
            "client.*",
            "fips-mode",
            "netty.server.outstandingHandshake.limit",
            "netty.server.earlyDropSecureConnectionHandshakes",
            "X509AuthenticationProvider.*",
        ],
    },
    Absent {
        text: "there is no HTTP admin server in this release: use the four-letter words",
        names: &["admin.*"],
    },
    Absent {
        text: "there is no metrics provider in this release: scrape `mntr`, which has the metrics",
        names: &["metricsProvider.*"],
    },
    Absent {
        text: "there is no SASL: clients authenticate with `digest`, and peers are not \
               authenticated, so keep the quorum port private",
        names: &[
            "quorum.auth.*",
            "quorum.cnxn.threads.size",
            "kerberos.*",
            "security.*",
            "sasl.*",
            "SASLAuthenticationProvider.*",
            "allowSaslFailedClients",
        ],
    },
    Absent {
        text: "an `ip` identity is the address that connects: what a proxy tells of the one behind it \
               is not read",
        names: &["IPAuthenticationProvider.*"],
    },
    Absent {
        text: "providers in Java cannot be loaded: world, auth, digest, ip and ensemble are \
               built in",
        names: &["authProvider.*"],
    },
    Absent {
        text: "super users other than `superDigest` are not known",
        names: &["superUser", "superUser.*"],
    },
    Absent { text: "there is no audit log in this release", names: &["audit.*"] },
    Absent {
        text: "groups and weights are not known: every voter counts as one, and a majority decides",
        names: &["group.*", "weight.*", "oraclePath"],
    },
    Absent {
        text: "observers learn from any server of the list; there is no port of its own for it",
        names: &["observerMasterPort", "observerMaster.*"],
    },
    Absent {
        text: "connections are limited by number (maxClientCnxns, maxCnxns), not by tokens",
        names: &["connection_throttle_*"],
    },
    Absent {
        text: "the size of requests in flight is bounded by jute.maxbuffer and the limits built in",
        names: &["largeRequestMaxBytes", "largeRequestThreshold"],
    },
    Absent {
        text: "threads and sockets are arranged differently: see `farwatch.threads`",
        names: &[
            "serverCnxnFactory",
            "netty.*",
            "nio.*",
            "commitProcessor.*",
            "maxResponseCacheSize",
            "maxGetChildrenResponseCacheSize",
            "intBufferStartingSizeBytes",
            "watch*",
            "maxInProcessingDeadWatchers",
            "bitHashCacheSize",
            "messageTracker.*",
            "pathStats.*",
            "jvm.pause.*",
            "enableEagerACLCheck",
            "request_throttle*",
            "request_stale_*",
            "leader.nodelay",
            "follower.nodelay",
        ],
    },
    Absent {
        text: "log and snapshots have their own formats and sizes, which need no tuning: see \
               docs/formats.md",
        names: &[
            "preAllocSize",
            "txnLogSizeLimitInKb",
            "commitLogCount",
            "snapshotSizeFactor",
            "flushDelay",
            "maxWriteQueuePollTime",
            "maxBatchSize",
            "snapshot.*",
            "serializeLastProcessedZxid.enabled",
            "digest.enabled",
            "closeSessionTxn.enabled",
            "db.autocreate",
            "jute.maxbuffer.extrasize",
            "forceSnapshotSync",
        ],
    },
    Absent {
        text: "peers use one connection and elect in their own way, which needs no tuning",
        names: &[
            "multiAddress.*",
            "leader.*",
            "learner.*",
            "follower.*",
            "observer.*",
            "leaderConnectDelayDuringRetryMs",
            "forward_learner_requests_to_commit_processor_disabled",
            "electionPortBindRetry",
            "cnxTimeout",
            "quorumCnxnTimeoutMs",
            "fastleader.*",
            "tcpKeepAlive",
        ],
    },
    Absent {
        text: "switches for tests of ZooKeeper have no effect",
        names: &["testingonly.*", "test.*", "emulate353TTLNodes"],
    },
];

#[cfg(test)]
mod tests {
    use super::{absent, effective};

    #[test]
    fn both_names_of_a_setting_mean_one() {
        assert_eq!(effective("requestThrottleLimit"), "request_throttle_max_requests");
        assert_eq!(effective("zookeeper.connectionMaxTokens"), "connection_throttle_tokens");
        assert_eq!(effective("zookeeper.snapCount"), "snapCount");
        assert_eq!(effective("tickTime"), "tickTime");
    }

    #[test]
    fn settings_of_absent_features_are_known_and_others_are_not() {
        for name in [
            "ssl.keyStore.location",
            "admin.enableServer",
            "metricsProvider.className",
            "IPAuthenticationProvider.usexforwardedfor",
            "SASLAuthenticationProvider.superPassword",
        ] {
            assert!(absent(name).is_some(), "{name}");
        }
        assert!(absent("foo.bar").is_none());
        assert!(absent("sslx").is_none());
    }
}

//! Settings of one server: everything but the ensemble.

use std::path::PathBuf;

use farwatch_core::auth::{DIGEST, DigestAlgorithm, IP, SuperDigest};
use farwatch_core::limits::CLIENT_FRAME_BYTES_LIMIT;
use farwatch_core::node::OnPartition;
use farwatch_observer::config::{
    LINK_BYTES_PER_SECOND_MIN, LinkCompression, LocalSessions, LogDriver,
    SESSION_TIMEOUT_TICKS_MAX, SESSION_TIMEOUT_TICKS_MIN, SNAPSHOTS_RETAINED_MIN, ServerConfig,
    ServerRole, SocketDriver, Standing, UpstreamChoice,
};
use farwatch_observer::four_letter::{Whitelist, Word};

use super::setting::{Setting, Settings};
use super::{ConfigError, Fault, Reader};

/// Largest number of milliseconds, ticks or the like that makes sense: ZooKeeper keeps them in an
/// `int`.
const INT_MAX: i64 = i32::MAX as i64;

/// The class of ZooKeeper that offers the scheme `ensemble`, as an operator names it.
const ENSEMBLE_PROVIDER: &str = "EnsembleAuthenticationProvider";

impl Reader<'_> {
    /// Fills everything but the ensemble and the client addresses.
    pub(super) fn server(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        self.directories(config)?;
        self.times(config)?;
        self.limits(config)?;
        self.snapshots(config)?;
        self.permissions(config)?;
        self.sessions(config)?;
        self.links(config)?;
        self.drivers(config)
    }

    fn directories(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let Some(data_dir) = self.settings.take("dataDir") else {
            if self.settings.has(super::ensemble::OBSERVE) {
                config.memory_only = true;
                return Ok(());
            }
            let hint = ": name the directory of the data, or start with --data-dir";
            return Err(self.missing("dataDir", Fault::NotSet { name: "dataDir", hint }));
        };
        if data_dir.value.starts_with('~') {
            let text = "`~` is not expanded: this is a directory of that name".to_owned();
            self.settings.notice(data_dir.place, text);
        }
        config.data_dir = PathBuf::from(data_dir.value);
        let log_dir = self.settings.take("dataLogDir").map(|setting| PathBuf::from(setting.value));
        config.data_log_dir = log_dir.unwrap_or_else(|| config.data_dir.clone());
        self.settings.switch_into("datadir.autocreate", &mut config.data_dir_autocreate);
        Ok(())
    }

    fn times(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        if let Some((tick, _)) = self.settings.number("tickTime", 1, INT_MAX)? {
            config.tick_time_ms = tick as u32;
        }
        let ticks = |count: u32| config.tick_time_ms.saturating_mul(count).min(INT_MAX as u32);
        config.session_timeout_ms_min = ticks(SESSION_TIMEOUT_TICKS_MIN);
        config.session_timeout_ms_max = ticks(SESSION_TIMEOUT_TICKS_MAX);
        let shortest = self.settings.number("minSessionTimeout", -1, INT_MAX)?;
        let longest = self.settings.number("maxSessionTimeout", -1, INT_MAX)?;
        let mut blame = None;
        for (set, field) in [
            (shortest, &mut config.session_timeout_ms_min),
            (longest, &mut config.session_timeout_ms_max),
        ] {
            if let Some((value, place)) = set.filter(|(value, _)| *value != -1) {
                *field = value as u32;
                blame = Some(place);
            }
        }
        if config.session_timeout_ms_max < config.session_timeout_ms_min {
            let place = blame.expect("two ticks are never more than twenty");
            let other = format!(
                "the other bound: minSessionTimeout would be {} and maxSessionTimeout {}",
                config.session_timeout_ms_min, config.session_timeout_ms_max
            );
            return Err(ConfigError { place, fault: Fault::Contradicts { other } });
        }
        let settings = &mut self.settings;
        settings.number_into("nio.sessionlessCnxnTimeout", &mut config.sessionless_timeout_ms)?;
        settings.number_into("fsync.warningthresholdms", &mut config.fsync_warning_ms)?;
        settings.number_into("writeWaitMs", &mut config.write_wait_ms)?;
        settings.number_into("maxStaleness", &mut config.staleness_ms_max)?;
        let grace = &mut config.observer_session_grace_ms;
        settings.number_into("farwatch.observerSessionGraceMs", grace)?;
        if let Some((ms, _)) = settings.number("leader.stallMs", 1, INT_MAX)? {
            config.leader_stall_ms = ms as u32;
        }
        let reaping = &mut config.reaping;
        let interval = "znode.container.checkIntervalMs";
        settings.number_into(interval, &mut reaping.check_interval_ms)?;
        settings.number_into("znode.container.maxPerMinute", &mut reaping.per_minute_max)?;
        let never_used = "znode.container.maxNeverUsedIntervalMs";
        if let Some((ms, _)) = settings.number(never_used, 0, i64::MAX)? {
            reaping.never_used_ms_max = ms as u64;
        }
        Ok(())
    }

    fn limits(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        settings.number_into("maxClientCnxns", &mut config.client_connections_max)?;
        settings.number_into("maxCnxns", &mut config.connections_max)?;
        let outstanding = &mut config.outstanding_requests_max;
        settings.number_into("globalOutstandingLimit", outstanding)?;
        let throttled = &mut config.throttled_requests_max;
        settings.number_into("request_throttle_max_requests", throttled)?;
        settings.number_into("throttled_op_wait_time", &mut config.throttled_op_wait_ms)?;
        if config.throttled_requests_max != 0 || config.throttled_op_wait_ms != 0 {
            let place = super::Place::missing(self.source, "request_throttle_max_requests");
            let text = "no queue stands in front of the pipeline here, so nothing is throttled in \
                        it: globalOutstandingLimit holds clients back";
            settings.notice(place, text.to_owned());
        }
        if let Some((backlog, _)) = settings.number("clientPortListenBacklog", -1, INT_MAX)? {
            config.client_backlog = backlog as i32;
        }
        settings.switch_into("clientTcpKeepAlive", &mut config.client_tcp_keep_alive);
        if let Some((bytes, place)) = settings.number("jute.maxbuffer", 1, INT_MAX)? {
            config.client_frame_bytes_max = bytes as usize;
            if CLIENT_FRAME_BYTES_LIMIT < config.client_frame_bytes_max {
                config.client_frame_bytes_max = CLIENT_FRAME_BYTES_LIMIT;
                let text = format!(
                    "lowered to {CLIENT_FRAME_BYTES_LIMIT}, the most that one log record can hold"
                );
                settings.notice(place, text);
            }
        }
        Ok(())
    }

    fn snapshots(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        if let Some((txns, place)) = settings.number("snapCount", 0, INT_MAX)? {
            config.snapshot_txns = txns.max(2) as u32;
            if txns < 2 {
                settings.notice(place, "raised to 2, the least that makes sense".to_owned());
            }
        }
        let kilobytes_max = i64::MAX / 1024;
        if let Some((kb, _)) = settings.number("snapSizeLimitInKb", i64::MIN, kilobytes_max)? {
            config.snapshot_log_bytes = kb.max(0) as u64 * 1024;
        }
        if let Some((count, place)) = settings.number("autopurge.snapRetainCount", 0, INT_MAX)? {
            config.autopurge.snapshots_retained = (count as u32).max(SNAPSHOTS_RETAINED_MIN);
            if (count as u32) < SNAPSHOTS_RETAINED_MIN {
                let text = format!("raised to {SNAPSHOTS_RETAINED_MIN}, the fewest that are kept");
                settings.notice(place, text);
            }
        }
        if let Some(interval) = settings.take("autopurge.purgeInterval") {
            config.autopurge.interval_ms = interval_ms(&interval)?;
        }
        if let Some((bytes, _)) = settings.number("farwatch.logRetainBytes", 0, i64::MAX)? {
            config.log_retain_bytes = bytes as u64;
        }
        if let Some((bytes, _)) = settings.number("snapshot.transferBytesPerSecond", 0, i64::MAX)? {
            config.snapshot_transfer_bytes_per_second = bytes as u64;
        }
        if let Some((depth, _)) = settings.number("farwatch.logQueueDepth", 1, 64)? {
            config.log_queue_depth = depth as u32;
        }
        settings.switch_into("forceSync", &mut config.force_sync);
        if !config.force_sync {
            let place = super::Place::missing(self.source, "forceSync");
            // There is no such mode: what is acknowledged is durable.
            config.force_sync = true;
            let text = "has no effect: every write is durable before it is acknowledged".to_owned();
            settings.notice(place, text);
        }
        settings.boolean_into("syncEnabled", &mut config.observer_keeps_log)
    }

    fn permissions(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        settings.switch_into("extendedTypesEnabled", &mut config.extended_types);
        settings.switch_into("enforceQuota", &mut config.enforce_quota);
        settings.switch_into("skipACL", &mut config.skip_acl);
        let authentication = &mut config.authentication;
        let digest = "DigestAuthenticationProvider.enabled";
        settings.switch_into(digest, &mut authentication.digest_enabled);
        if let Some(algorithm) = settings.take("DigestAuthenticationProvider.digestAlg") {
            let known = DigestAlgorithm::by_name(&algorithm.value);
            let expected = "SHA1, which clients assume, SHA-256 or another of SHA-2 and SHA3";
            authentication.digest_algorithm = known.ok_or_else(|| word(&algorithm, expected))?;
        }
        if let Some(digest) = settings.take("DigestAuthenticationProvider.superDigest") {
            if !digest.value.contains(':') {
                let text = "matches nobody: it must read super:HASH".to_owned();
                settings.notice(digest.place, text);
            }
            authentication.super_digest = Some(SuperDigest::new(digest.value));
        }
        authentication.ensemble_names = ensemble_names(settings);
        authentication.enforced_schemes = self.enforced_schemes(authentication.digest_enabled)?;
        Ok(())
    }

    /// The schemes of which each client must have passed one. A scheme that nobody can pass here is
    /// refused, as ZooKeeper refuses one that it lacks: clients would be answered -124.
    fn enforced_schemes(&mut self, has_digest: bool) -> Result<Vec<String>, ConfigError> {
        let (mut enforced, mut sasl) = (false, false);
        self.settings.switch_into("enforce.auth.enabled", &mut enforced);
        self.settings.switch_into("sessionRequireClientSASLAuth", &mut sasl);
        if sasl {
            let fault = Fault::CannotEnforce { scheme: "sasl".to_owned() };
            return Err(self.missing("sessionRequireClientSASLAuth", fault));
        }
        let Some(schemes) = self.settings.take("enforce.auth.schemes").filter(|_| enforced) else {
            let needs = Fault::Needs { other: "enforce.auth.schemes" };
            return match enforced {
                true => Err(self.missing("enforce.auth.enabled", needs)),
                false => Ok(Vec::new()),
            };
        };
        let names = list(&schemes);
        let is_here = |name: &str| name == IP || (name == DIGEST && has_digest);
        match names.iter().find(|name| !is_here(name)) {
            Some(absent) => Err(schemes.fault(Fault::CannotEnforce { scheme: absent.clone() })),
            None if names.is_empty() => {
                Err(schemes.fault(Fault::CannotEnforce { scheme: schemes.value.clone() }))
            }
            None => Ok(names),
        }
    }

    fn sessions(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        settings.switch_into("leaderServes", &mut config.leader_serves);
        let not_here = [(
            "leaderServes",
            !config.leader_serves,
            "has no effect: a leader serves its clients like every other server",
        )];
        for (name, asked, text) in not_here {
            if asked {
                settings.notice(super::Place::missing(self.source, name), text.to_owned());
            }
        }
        settings.boolean_into("reconfigEnabled", &mut config.reconfig_enabled)?;
        if config.reconfig_enabled {
            let place = super::Place::missing(self.source, "reconfigEnabled");
            let text = "there is no membership change in this release: `reconfig` is answered as \
                        not implemented; stop the servers and change their files instead";
            settings.notice(place, text.to_owned());
        }
        Ok(())
    }

    /// Which sessions are local. Observers serve the many clients of a place that is far from the
    /// voters: what these begin, ping and end stays there unless the operator says otherwise. The
    /// role must be known.
    pub(super) fn local_sessions(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let enabled = self.settings.boolean("localSessionsEnabled")?;
        let upgrading = self.settings.boolean("localSessionsUpgradingEnabled")?;
        if config.standing == Standing::Alone {
            return Ok(()); // all of its sessions are global, as ZooKeeper's standalone server has it
        }
        config.local_sessions = match (enabled, upgrading) {
            (None, None) if config.role == ServerRole::Observer => LocalSessions::Upgrading,
            (None | Some(false), _) => LocalSessions::Off,
            (Some(true), None | Some(false)) => LocalSessions::On,
            (Some(true), Some(true)) => LocalSessions::Upgrading,
        };
        Ok(())
    }

    /// Which words are answered; known once it is what the server does without a leader.
    pub(super) fn words(&mut self, config: &mut ServerConfig) {
        if let Some(list) = self.settings.take("4lw.commands.whitelist") {
            let (words, unknown) = Whitelist::parse(&list.value);
            config.four_letter_words = words;
            if !unknown.is_empty() {
                let text = format!("no such word: {}", unknown.join(", "));
                self.settings.notice(list.place, text);
            }
        }
        if config.on_partition == OnPartition::ReadOnly {
            // Clients that look for a writable server ask with it.
            config.four_letter_words = config.four_letter_words.with(Word::Isro);
        }
    }

    /// What is sent to observers, and how.
    fn links(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        if let Some((rate, place)) =
            self.settings.number("farwatch.linkBytesPerSecond", 0, i64::MAX)?
        {
            config.link_bytes_per_second = rate as u64;
            if (1..LINK_BYTES_PER_SECOND_MIN).contains(&config.link_bytes_per_second) {
                config.link_bytes_per_second = LINK_BYTES_PER_SECOND_MIN;
                let text = format!(
                    "raised to {LINK_BYTES_PER_SECOND_MIN}, the least that a link works with"
                );
                self.settings.notice(place, text);
            }
        }
        if let Some(compression) = self.settings.take("farwatch.linkCompression") {
            config.link_compression = match compression.value.as_str() {
                "auto" => LinkCompression::Auto,
                "on" => LinkCompression::On,
                "off" => LinkCompression::Off,
                _ => return Err(word(&compression, "auto, on or off")),
            };
        }
        if let Some(choice) = self.settings.take("farwatch.upstreamChoice") {
            config.upstream_choice = match choice.value.as_str() {
                "first" => UpstreamChoice::First,
                "nearest" => UpstreamChoice::Nearest,
                _ => return Err(word(&choice, "first or nearest")),
            };
            if !self.settings.has(super::ensemble::OBSERVE) {
                let text = format!("of no effect without `{}`", super::ensemble::OBSERVE);
                self.settings.notice(choice.place, text);
            }
        }
        Ok(())
    }

    fn drivers(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        if let Some((threads, _)) = self.settings.number("farwatch.threads", 0, 1024)? {
            config.threads = threads as u32;
        }
        if let Some(driver) = self.settings.take("farwatch.socketDriver") {
            config.socket_driver = match driver.value.as_str() {
                "auto" => SocketDriver::Auto,
                "uring" => SocketDriver::IoUring,
                "epoll" => SocketDriver::Epoll,
                _ => return Err(word(&driver, "auto, uring or epoll")),
            };
        }
        if let Some(driver) = self.settings.take("farwatch.logDriver") {
            config.log_driver = match driver.value.as_str() {
                "auto" => LogDriver::Auto,
                "uring" => LogDriver::IoUring,
                "thread" => LogDriver::Thread,
                _ => return Err(word(&driver, "auto, uring or thread")),
            };
        }
        if let Some(algorithm) = self.settings.take("electionAlg")
            && algorithm.value != "3"
        {
            return Err(word(&algorithm, "3, or nothing"));
        }
        Ok(())
    }
}

fn word(setting: &Setting, expected: &'static str) -> ConfigError {
    setting.fault(Fault::Word { value: setting.value.clone(), expected })
}

/// The parts of a comma list.
fn list(setting: &Setting) -> Vec<String> {
    let parts = setting.value.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// The one provider in Java that is not always there and that needs no Java: clients say by it
/// which ensemble they look for.
fn ensemble_names(settings: &mut Settings) -> Option<Vec<String>> {
    let names = settings.take("ensembleAuthName");
    let others = |(_, provider): &(String, Setting)| !provider.value.ends_with(ENSEMBLE_PROVIDER);
    let providers = settings.take_all("authProvider.");
    let asked = providers.iter().any(|provider| !others(provider));
    for (_, other) in providers.into_iter().filter(others) {
        settings.replace(other);
    }
    if let (Some(names), false) = (&names, asked) {
        let text = format!("has no effect: it needs authProvider.1=…{ENSEMBLE_PROVIDER}");
        settings.notice(names.place.clone(), text);
    }
    asked.then(|| names.map_or_else(Vec::new, |names| list(&names)))
}

/// Hours, or a number with one of the suffixes of later releases.
fn interval_ms(setting: &Setting) -> Result<u64, ConfigError> {
    let text = setting.value.as_str();
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000_u64)];
    let suffixed = units.iter().find_map(|(suffix, ms)| Some((text.strip_suffix(suffix)?, *ms)));
    let (number, ms) = suffixed.unwrap_or((text, 3_600_000));
    let interval = number.trim().parse::<u32>().ok().map(|number| u64::from(number) * ms);
    interval.ok_or_else(|| word(setting, "hours, or a number followed by ms, s, m, h or d"))
}

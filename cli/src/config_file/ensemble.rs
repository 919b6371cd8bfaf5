//! The ensemble: server lines, dynamic file, `myid`, and where clients are accepted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use farwatch_observer::config::{
    ELECTION_TIMEOUT_MS_MIN, EXTENDED_TYPES_SERVER_ID_MAX, ServerConfig, ServerRole, ServerSpec,
    Standing,
};

use super::setting::{Place, Setting};
use super::{ConfigError, Fault, Reader, file_settings, server_line};

/// Whom an observer learns from instead of the ensemble's leader, the preferred one first.
pub(super) const OBSERVE: &str = "farwatch.observe";

/// Where others learn from an observer that no list names.
const PEER_ADDRESS: &str = "farwatch.peerAddress";

/// A client address of the file, before its host is resolved.
struct Client {
    host: Option<String>,
    port: u16,
}

impl Reader<'_> {
    /// Fills the ensemble and the client addresses.
    pub(super) fn ensemble(
        &mut self,
        config: &mut ServerConfig,
        listen: &[SocketAddr],
    ) -> Result<(), ConfigError> {
        self.dynamic_file()?;
        let mut standalone_enabled = true;
        self.settings.boolean_into("standaloneEnabled", &mut standalone_enabled)?;
        let servers = self.servers(config)?;
        let everywhere = &mut config.peers_on_all_addresses;
        self.settings.boolean_into("quorumListenOnAllIPs", everywhere)?;
        if let Some(version) = self.settings.take("version")
            && i64::from_str_radix(&version.value, 16).is_err()
        {
            let expected = "a hexadecimal number";
            return Err(version.fault(Fault::Word { value: version.value.clone(), expected }));
        }
        self.upstreams(config)?;
        let guest = servers.is_empty() && !config.upstreams.is_empty();
        config.standing = match guest {
            true => Standing::Member,
            false => self.standing(&servers, standalone_enabled)?,
        };
        self.member_limits(config, guest)?;
        let role = self.configured_role()?;
        let usual = if guest { ServerRole::Observer } else { ServerRole::Participant };
        config.role = role.as_ref().map_or(usual, |(role, _)| *role);
        let own = match config.standing {
            Standing::Alone => servers.first().cloned(),
            Standing::Member if guest => None,
            Standing::Member => {
                config.server_id = self.my_id(&config.data_dir)?;
                config.servers = servers;
                config.own_spec().cloned()
            }
        };
        if let (Standing::Member, Some(own)) = (config.standing, &own) {
            if let Some((role, place)) = role.filter(|(role, _)| *role != own.role) {
                let listed = own.role;
                let text = format!("{role} here, {listed} in the list of servers, which wins");
                self.settings.notice(place, text);
            }
            config.role = own.role;
        }
        if config.standing == Standing::Member && !guest {
            self.own_place(config, own.as_ref())?;
        }
        if config.role == ServerRole::Observer && !config.observer_keeps_log {
            config.memory_only = true; // its directory is for `myid` only
        }
        if config.memory_only && config.role == ServerRole::Participant {
            let hint = ": a voter keeps what it acknowledges; name the directory of the data";
            return Err(self.missing("dataDir", Fault::NotSet { name: "dataDir", hint }));
        }
        if config.role == ServerRole::Participant && !config.upstreams.is_empty() {
            let text = "a voter follows the leader that it votes for: only an observer learns from \
                        a list of servers";
            return Err(self.missing(OBSERVE, Fault::Ensemble(text)));
        }
        self.client_addrs(config, own.as_ref(), listen)
    }

    /// Whom an observer learns from, and of one that is in no list, where others learn from it.
    fn upstreams(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        if let Some(setting) = self.settings.take(OBSERVE) {
            let wrong = || {
                let (value, expected) = (setting.value.clone(), "host:port,host:port");
                setting.fault(Fault::Word { value, expected })
            };
            for place in setting.value.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
                config.upstreams.push((host.to_owned(), port));
            }
            if config.upstreams.is_empty() {
                return Err(wrong());
            }
        }
        if let Some(setting) = self.settings.take(PEER_ADDRESS) {
            let place = setting.value.rsplit_once(':');
            let parsed = place.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
            let Some((host, port)) = parsed else {
                let (value, expected) = (setting.value.clone(), "host:port");
                return Err(setting.fault(Fault::Word { value, expected }));
            };
            let client = Client { host: Some(host.to_owned()), port };
            config.peer_addrs.push(self.address(&client, &setting)?);
        }
        Ok(())
    }

    /// What this member itself must be.
    fn own_place(
        &self,
        config: &ServerConfig,
        own: Option<&ServerSpec>,
    ) -> Result<(), ConfigError> {
        match own {
            Some(_) => Ok(()),
            None => Err(self.missing("server", Fault::NotListed(config.server_id))),
        }
    }

    /// Adds the settings of the dynamic file, which the static file must then not hold.
    fn dynamic_file(&mut self) -> Result<(), ConfigError> {
        let Some(named) = self.settings.take("dynamicConfigFile") else { return Ok(()) };
        for prefix in ["server.", "group.", "weight."] {
            if let Some((_, setting)) = self.settings.take_all(prefix).first() {
                let other = named.place.to_string();
                return Err(setting.fault(Fault::Contradicts { other }));
            }
        }
        let path = Path::new(&named.value);
        let text = self.surroundings.read(path).map_err(|error| {
            named.fault(Fault::Unreadable { path: path.to_owned(), error: error.to_string() })
        })?;
        for setting in file_settings(&named.value, &text)? {
            let key = &setting.place.key;
            let may = ["server.", "group.", "weight."].iter().any(|start| key.starts_with(start));
            if !may && key != "version" {
                return Err(setting.fault(Fault::NotDynamic));
            }
            self.settings.add(setting)?;
        }
        Ok(())
    }

    /// The server lines, by id.
    fn servers(&mut self, config: &ServerConfig) -> Result<Vec<ServerSpec>, ConfigError> {
        let mut servers = Vec::new();
        for (name, setting) in self.settings.take_all("server.") {
            let Ok(id) = name.parse::<u32>().map(u64::from) else {
                let (min, max) = (0, i64::from(u32::MAX));
                return Err(setting.fault(Fault::Number { value: name, min, max }));
            };
            if config.extended_types && EXTENDED_TYPES_SERVER_ID_MAX < id {
                return Err(setting.fault(Fault::IdTooLarge(id)));
            }
            let spec = server_line::parse(id, &setting.value)
                .map_err(|error| setting.fault(Fault::ServerLine(error)))?;
            if servers.iter().any(|other: &ServerSpec| other.id == id) {
                let other = format!("another line of server {id}");
                return Err(setting.fault(Fault::Contradicts { other }));
            }
            if spec.role == ServerRole::Participant
                && spec.peers.iter().any(|peer| peer.election_port.is_none())
            {
                let fault = Fault::Ensemble("Missing election port: a voter needs both ports");
                return Err(setting.fault(fault));
            }
            servers.push(spec);
        }
        servers.sort_by_key(|spec| spec.id);
        Ok(servers)
    }

    /// How the server takes part. Source: `QuorumPeerConfig.parseDynamicConfig`.
    fn standing(
        &mut self,
        servers: &[ServerSpec],
        standalone_enabled: bool,
    ) -> Result<Standing, ConfigError> {
        let voters = servers.iter().filter(|spec| spec.role == ServerRole::Participant).count();
        let observers = servers.len() - voters;
        let wrong = |text| Err(self.missing("server", Fault::Ensemble(text)));
        let text = match (voters, observers) {
            (0, 0) if standalone_enabled => return Ok(Standing::Alone),
            (0, 0) => {
                return wrong("standaloneEnabled=false needs at least one server line");
            }
            (0, _) => return wrong("Observers w/o participants is an invalid configuration"),
            (1, 0) if standalone_enabled => {
                let text = "only one server: it runs standalone, and the line serves its client \
                            port only. Set standaloneEnabled=false for an ensemble of one";
                self.settings.notice(Place::missing(self.source, "server"), text.to_owned());
                return Ok(Standing::Alone);
            }
            (1, _) if standalone_enabled => {
                return wrong(
                    "Observers w/o quorum is an invalid configuration: set \
                     standaloneEnabled=false for one voter with observers",
                );
            }
            (2, _) => "two voters tolerate no failure: use three",
            (even, _) if even % 2 == 0 => {
                "an even number of voters tolerates no more failures than one voter less"
            }
            (_, _) => return Ok(Standing::Member),
        };
        self.settings.notice(Place::missing(self.source, "server"), text.to_owned());
        Ok(Standing::Member)
    }

    /// The limits that only members need.
    fn member_limits(&mut self, config: &mut ServerConfig, guest: bool) -> Result<(), ConfigError> {
        let mut limits = [0; 2];
        for (limit, name) in limits.iter_mut().zip(["initLimit", "syncLimit"]) {
            self.settings.number_into(name, limit)?;
            if *limit == 0 && config.standing == Standing::Member && !guest {
                let hint = ": an ensemble needs it; 10 and 5 ticks are usual";
                return Err(self.missing(name, Fault::NotSet { name, hint }));
            }
        }
        let [init, sync] = limits;
        config.init_limit_ticks = if init == 0 { config.init_limit_ticks } else { init };
        config.sync_limit_ticks = if sync == 0 { config.sync_limit_ticks } else { sync };
        let connect = &mut config.connect_limit_ticks;
        self.settings.number_into("connectToLearnerMasterLimit", connect)?;
        self.election_timeout(config)
    }

    /// How long a leader may be silent; never longer than `syncLimit` allows any learner.
    fn election_timeout(&mut self, config: &mut ServerConfig) -> Result<(), ConfigError> {
        let (min, max) = (i64::from(ELECTION_TIMEOUT_MS_MIN), i64::from(i32::MAX));
        let set = self.settings.number("electionTimeoutMs", min, max)?;
        let outer = config.tick_time_ms.saturating_mul(config.sync_limit_ticks);
        let outer = outer.max(ELECTION_TIMEOUT_MS_MIN);
        config.election_timeout_ms = config.election_timeout_ms.min(outer);
        if let Some((ms, place)) = set {
            config.election_timeout_ms = (ms as u32).min(outer);
            if config.election_timeout_ms < ms as u32 {
                let text = format!("lowered to {outer}, which is syncLimit ticks");
                self.settings.notice(place, text);
            }
        }
        Ok(())
    }

    fn configured_role(&mut self) -> Result<Option<(ServerRole, Place)>, ConfigError> {
        let Some(setting) = self.settings.take("peerType") else { return Ok(None) };
        let expected = "participant or observer";
        let value = setting.value.clone();
        match server_line::parse_role(&setting.value) {
            Some(role) => Ok(Some((role, setting.place))),
            None => Err(setting.fault(Fault::Word { value, expected })),
        }
    }

    /// This member's id: the first line of `myid`.
    fn my_id(&self, data_dir: &Path) -> Result<u64, ConfigError> {
        let path = data_dir.join("myid");
        let text = match self.surroundings.read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing("myid", Fault::MyIdMissing { path }));
            }
            Err(error) => {
                let error = error.to_string();
                return Err(self.missing("myid", Fault::Unreadable { path, error }));
            }
        };
        let text = String::from_utf8_lossy(&text);
        let value = text.lines().next().unwrap_or_default().trim().to_owned();
        let wrong = |value| self.missing("myid", Fault::MyId { path: path.clone(), value });
        value.parse::<u32>().map(u64::from).map_err(|_| wrong(value))
    }

    /// Where clients are accepted: the command line, else the static file, else the own line.
    fn client_addrs(
        &mut self,
        config: &mut ServerConfig,
        own: Option<&ServerSpec>,
        listen: &[SocketAddr],
    ) -> Result<(), ConfigError> {
        let client = self.client("clientPort", "clientPortAddress")?;
        let secure = self.client("secureClientPort", "secureClientPortAddress")?;
        if let Some((secure, setting)) = secure {
            let text = "there is no TLS in this release: nothing listens on it".to_owned();
            config.secure_client_addr = Some(self.address(&secure, &setting)?);
            self.settings.notice(setting.place, text);
        }
        let listed = own.and_then(|own| own.client.as_ref());
        let found = match (client, listed) {
            (Some((client, setting)), Some(listed)) => {
                let host = client.host.as_deref().unwrap_or("0.0.0.0");
                if (host, client.port) != (listed.host.as_str(), listed.port) {
                    let other = own.map_or_else(String::new, ToString::to_string);
                    return Err(setting.fault(Fault::Contradicts { other }));
                }
                Some(self.address(&client, &setting)?)
            }
            (Some((client, setting)), None) => Some(self.address(&client, &setting)?),
            (None, Some(listed)) => {
                let host = Some(listed.host.clone());
                let place = Place::missing(self.source, "server");
                let setting = Setting { value: listed.host.clone(), place };
                Some(self.address(&Client { host, port: listed.port }, &setting)?)
            }
            (None, None) => None,
        };
        config.client_addrs = match (listen, found) {
            ([], Some(found)) => vec![found],
            ([], None) => {
                let hint = ": clients could not connect; 2181 is usual";
                let name = "clientPort";
                return Err(self.missing(name, Fault::NotSet { name, hint }));
            }
            (listen, _replaced) => listen.to_vec(),
        };
        Ok(())
    }

    fn client(
        &mut self,
        port_name: &'static str,
        host_name: &str,
    ) -> Result<Option<(Client, Setting)>, ConfigError> {
        let host = self.settings.take(host_name);
        let port_place = self.settings.number(port_name, 0, i64::from(u16::MAX))?;
        match (port_place, host) {
            (None, None) => Ok(None),
            (None, Some(host)) => Err(host.fault(Fault::Needs { other: port_name })),
            (Some((port, place)), host) => {
                let place = host.as_ref().map_or(place, |host| host.place.clone());
                let host = host.map(|host| host.value);
                let setting = Setting { value: host.clone().unwrap_or_default(), place };
                Ok(Some((Client { host, port: port as u16 }, setting)))
            }
        }
    }

    fn address(&self, client: &Client, setting: &Setting) -> Result<SocketAddr, ConfigError> {
        let any = || match self.surroundings.has_ipv6() {
            true => IpAddr::V6(Ipv6Addr::UNSPECIFIED), // takes IPv4 clients as well
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let ip = match client.host.as_deref() {
            None | Some("0.0.0.0" | "*") => any(),
            Some(host) => self.host(host, setting)?,
        };
        Ok(SocketAddr::new(ip, client.port))
    }

    fn host(&self, host: &str, setting: &Setting) -> Result<IpAddr, ConfigError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse() {
            return Ok(ip);
        }
        let fault = |error: String| setting.fault(Fault::Host { host: host.to_owned(), error });
        let found = self.surroundings.resolve(host).map_err(|error| fault(error.to_string()))?;
        // Java prefers IPv4, and so do the configurations written for it.
        let ipv4 = found.iter().find(|ip| ip.is_ipv4());
        let ip = ipv4.or(found.first()).copied();
        ip.ok_or_else(|| fault("the name service knows it without one".to_owned()))
    }
}

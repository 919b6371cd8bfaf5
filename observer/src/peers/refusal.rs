//! Whether two servers may have a link: judged by whoever accepts, from both hellos.

use std::net::SocketAddr;

use farwatch_core::log::format::ClusterId;
use farwatch_core::zxid::ServerId;
use thiserror::Error;

use super::handshake::{Hello, Rejection};

/// The code of [`Refusal::Adopting`].
pub const ADOPTING: u16 = 7;

/// The code of [`Refusal::AlreadyConnected`].
pub const ALREADY_CONNECTED: u16 = 8;

/// The code of [`Refusal::Full`].
pub const FULL: u16 = 9;

/// The code of [`Refusal::Busy`].
pub const BUSY: u16 = 10;

/// What whoever accepts makes of a number that says hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The configuration lists it.
    Listed,
    /// An observer that is in no list, where such are taken in.
    Guest,
    /// The same where none are.
    NoGuest,
    /// A server that a list would have to name.
    Unknown,
}

/// Why there is no link. The text is for the logs of both sides.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The two have no protocol version in common.
    #[error(
        "server {me} speaks versions {min} to {max} of the peer protocol, server {other} versions \
         {other_min} to {other_max}: update the older one"
    )]
    Version {
        /// Who refuses.
        me: ServerId,
        /// Its oldest version.
        min: u16,
        /// Its newest version.
        max: u16,
        /// Who is refused.
        other: ServerId,
        /// Its oldest version.
        other_min: u16,
        /// Its newest version.
        other_max: u16,
    },
    /// A server reached itself.
    #[error(
        "server {me} reached itself when it looked for server {sought}: the address of \
         server.{sought} in its configuration is its own"
    )]
    OwnConnection {
        /// The server.
        me: ServerId,
        /// Whom it wanted.
        sought: ServerId,
    },
    /// Another process has this server's number.
    #[error(
        "this is server {0} as well: give one of the two another number in myid, or, if they \
         drew it, another data directory: one of theirs is a copy"
    )]
    SameNumber(ServerId),
    /// A server that the configuration does not list.
    #[error(
        "server {other} is not in the configuration of server {me}: add its server line there, \
         or stop server {other}"
    )]
    Unknown {
        /// Who refuses.
        me: ServerId,
        /// Who is refused.
        other: ServerId,
    },
    /// An observer that is in no list, and none are taken in.
    #[error(
        "server {me} takes in no observers that its configuration does not list: allow guests \
         there, or give {other} another upstream"
    )]
    NoGuest {
        /// Who refuses.
        me: ServerId,
        /// Who is refused.
        other: ServerId,
    },
    /// The peer wanted another server.
    #[error(
        "this is server {me} and not server {sought}: correct the address of server.{sought} in \
         the configuration of server {other}"
    )]
    WrongServer {
        /// Who was reached.
        me: ServerId,
        /// Who was sought.
        sought: ServerId,
        /// Who is refused.
        other: ServerId,
    },
    /// Two ensembles.
    #[error(
        "server {me} belongs to the ensemble {mine:#018x} and server {other} to {theirs:#018x}: one \
         has the other's address or data directory; they must not share a history"
    )]
    WrongCluster {
        /// Who refuses.
        me: ServerId,
        /// Its ensemble.
        mine: u64,
        /// Who is refused.
        other: ServerId,
        /// Its ensemble.
        theirs: u64,
    },
    /// A new ensemble has not yet agreed what it is called.
    #[error(
        "servers {me} and {other} have not agreed on the id of their ensemble yet: one of them \
         takes the other's over, and tries again"
    )]
    Adopting {
        /// Who refuses.
        me: ServerId,
        /// Who is refused.
        other: ServerId,
    },
    /// The same server is here already.
    #[error(
        "server {other} is already connected from {address}: two servers have this number, or its \
         old connection is about to end"
    )]
    AlreadyConnected {
        /// Who is refused.
        other: ServerId,
        /// Where the one that was first is.
        address: SocketAddr,
    },
    /// No room for another guest.
    #[error(
        "server {me} serves {guests} observers that it does not list, and no more: use another \
         upstream, or allow more there"
    )]
    Full {
        /// Who refuses.
        me: ServerId,
        /// How many it has.
        guests: usize,
    },
    /// It has no descriptor for another guest.
    #[error(
        "server {me} may open no more files, but for its own, and takes no server that it does not list: use \
         another upstream, or raise its limit of open files (ulimit -H -n, LimitNOFILE=)"
    )]
    NoDescriptor {
        /// Who refuses.
        me: ServerId,
    },
    /// Guests come faster than they are taken in.
    #[error("server {me} is taking in other observers: it has room again in a moment")]
    Busy {
        /// Who refuses.
        me: ServerId,
    },
}

impl Refusal {
    /// Its number on the wire. Numbers are never used again for something else.
    pub fn code(&self) -> u16 {
        match self {
            Self::Version { .. } => 1,
            Self::OwnConnection { .. } => 2,
            Self::SameNumber(_) => 3,
            Self::Unknown { .. } | Self::NoGuest { .. } => 4,
            Self::WrongServer { .. } => 5,
            Self::WrongCluster { .. } => 6,
            Self::Adopting { .. } => ADOPTING,
            Self::AlreadyConnected { .. } => ALREADY_CONNECTED,
            Self::Full { .. } | Self::NoDescriptor { .. } => FULL,
            Self::Busy { .. } => BUSY,
        }
    }

    /// As it is sent.
    pub fn to_rejection(&self) -> Rejection {
        Rejection { code: self.code(), text: self.to_string() }
    }
}

/// The version that two servers speak, or why they do not. `own` is what this server says to the
/// other one; `standing` what it makes of the other one's number.
pub fn judge(own: &Hello, other: &Hello, standing: Standing) -> Result<u16, Refusal> {
    let version = own.version_max.min(other.version_max);
    if version < own.version_min.max(other.version_min) {
        return Err(Refusal::Version {
            me: own.me,
            min: own.version_min,
            max: own.version_max,
            other: other.me,
            other_min: other.version_min,
            other_max: other.version_max,
        });
    }
    if other.me == own.me {
        return Err(if other.boot == own.boot {
            Refusal::OwnConnection { me: own.me, sought: other.you }
        } else {
            Refusal::SameNumber(own.me)
        });
    }
    match standing {
        Standing::Listed | Standing::Guest => {}
        Standing::NoGuest => return Err(Refusal::NoGuest { me: own.me, other: other.me }),
        Standing::Unknown => return Err(Refusal::Unknown { me: own.me, other: other.me }),
    }
    if other.you != own.me && other.you != ServerId::ANYONE {
        return Err(Refusal::WrongServer { me: own.me, sought: other.you, other: other.me });
    }
    if own.cluster == other.cluster {
        return Ok(version);
    }
    if own.tentative || other.tentative {
        return Err(Refusal::Adopting { me: own.me, other: other.me });
    }
    Err(Refusal::WrongCluster {
        me: own.me,
        mine: own.cluster.0,
        other: other.me,
        theirs: other.cluster.0,
    })
}

/// The id of the ensemble that this server must take over from the other, and whether it is firm.
/// A proposal gives way to what is firm, an observer's to a voter's, and of two that are alike the
/// larger to the smaller, so that a new ensemble agrees on one whichever servers meet first, and
/// is not renamed by each observer that comes to it.
pub fn to_adopt(own: &Hello, other: &Hello) -> Option<(ClusterId, bool)> {
    if !own.tentative || own.cluster == other.cluster {
        return None;
    }
    if !other.tentative {
        return Some((other.cluster, true));
    }
    let gives_way =
        if own.votes == other.votes { other.cluster.0 < own.cluster.0 } else { other.votes };
    gives_way.then_some((other.cluster, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(me: u32, you: u32, cluster: u64, tentative: bool) -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            votes: true,
            cluster: ClusterId(cluster),
            tentative,
            boot: u64::from(me),
            capabilities: 0,
            me: ServerId(me),
            you: ServerId(you),
            attempt: super::super::handshake::Attempt::default(),
        }
    }

    #[test]
    fn proposals_give_way_to_what_is_firm_and_to_smaller_proposals() {
        let cases = [
            (5, true, 9, false, Some((9, true))),
            (5, true, 9, true, None),
            (9, true, 5, true, Some((5, false))),
            (9, true, 5, false, Some((5, true))),
            (5, false, 9, true, None),
            (5, false, 9, false, None),
            (5, true, 5, false, None),
        ];
        for (mine, tentative, theirs, theirs_tentative, wanted) in cases {
            let (own, other) =
                (hello(1, 2, mine, tentative), hello(2, 1, theirs, theirs_tentative));
            let wanted = wanted.map(|(id, firm)| (ClusterId(id), firm));
            assert_eq!(to_adopt(&own, &other), wanted, "{mine} {theirs}");
            let both_firm = !tentative && !theirs_tentative;
            let verdict = judge(&own, &other, Standing::Listed);
            match (mine == theirs, both_firm) {
                (true, _) => assert_eq!(verdict, Ok(1)),
                (false, true) => assert_eq!(verdict.unwrap_err().code(), 6),
                (false, false) => assert_eq!(verdict.unwrap_err().code(), 7),
            }
            // Exactly one of two that must agree gives way.
            let gives = [to_adopt(&own, &other), to_adopt(&other, &own)];
            let wanted = usize::from(mine != theirs && !both_firm);
            assert_eq!(gives.iter().flatten().count(), wanted, "{mine} {theirs}");
        }
    }

    #[test]
    fn an_observer_takes_a_voters_proposal_and_never_the_other_way() {
        for (voters, observers) in [(5, 9), (9, 5)] {
            let voter = hello(1, 2, voters, true);
            let observer = Hello { votes: false, ..hello(2, 1, observers, true) };
            assert_eq!(to_adopt(&observer, &voter), Some((ClusterId(voters), false)));
            assert_eq!(to_adopt(&voter, &observer), None, "{voters} {observers}");
            // What is firm has a history, whoever has it.
            let firm = Hello { tentative: false, ..observer };
            assert_eq!(to_adopt(&voter, &firm), Some((ClusterId(observers), true)));
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken_and_none_is_a_refusal() {
        let mut own = hello(1, 2, 7, false);
        let mut other = hello(2, 1, 7, false);
        (own.version_min, own.version_max) = (2, 4);
        for (min, max, wanted) in [(1, 2, Some(2)), (3, 9, Some(4)), (1, 1, None), (5, 6, None)] {
            (other.version_min, other.version_max) = (min, max);
            assert_eq!(judge(&own, &other, Standing::Listed).ok(), wanted, "{min} to {max}");
        }
    }

    #[test]
    fn who_is_not_meant_is_refused() {
        let own = hello(1, 0, 7, false);
        let code = |other: Hello, standing| judge(&own, &other, standing).map_err(|r| r.code());
        use Standing::{Guest, Listed, NoGuest, Unknown};
        assert_eq!(code(hello(2, 1, 7, false), Listed), Ok(1));
        assert_eq!(code(hello(1, 2, 7, false), Unknown), Err(2));
        assert_eq!(code(Hello { boot: 99, ..hello(1, 2, 7, false) }, Unknown), Err(3));
        assert_eq!(code(hello(4, 1, 7, false), Unknown), Err(4));
        assert_eq!(code(hello(4, 1, 7, false), NoGuest), Err(4));
        assert_eq!(code(hello(4, 1, 7, false), Guest), Ok(1));
        assert_eq!(code(hello(2, 3, 7, false), Listed), Err(5));
        assert_eq!(code(hello(2, u32::MAX, 7, false), Listed), Ok(1), "it takes whoever is there");
        assert_eq!(code(hello(1, u32::MAX, 7, false), Unknown), Err(2));
        assert_eq!(code(hello(4, u32::MAX, 8, false), Guest), Err(6));
    }
}

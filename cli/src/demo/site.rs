//! A site: observers behind one long way, which can be cut.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::table::{bytes, seconds};
use super::wire::{Carried, Cut, Quality, Wire};

/// Observers at the end of a long way.
#[derive(Debug)]
pub(super) struct Site {
    /// From 1.
    pub(super) number: u32,
    /// Its servers' numbers.
    pub(super) servers: Vec<u32>,
    pub(super) rtt: Duration,
    wire: Wire,
    cut: Option<Mark>,
    /// It was healed then, and is not level yet.
    healed: Option<Mark>,
}

/// How everything was at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) carried: Carried,
    /// Reads that were answered at the site, and that failed.
    pub(super) reads: (u64, u64),
    /// What the leader had committed.
    pub(super) leader: u64,
    /// What the site's last server had applied.
    pub(super) site: u64,
}

impl Site {
    /// A site whose way leads to `voters`.
    pub(super) fn new(
        number: u32,
        servers: Vec<u32>,
        rtt: Duration,
        voters: &[SocketAddr],
    ) -> io::Result<Self> {
        let jitter = rtt / 20;
        let seed = u64::from(number);
        let quality = Quality { jitter, seed, ..Quality::with_rtt(rtt) };
        let wire = Wire::start(voters, quality)?;
        Ok(Self { number, servers, rtt, wire, cut: None, healed: None })
    }

    /// Where its servers reach the voters.
    pub(super) fn places(&self) -> &[SocketAddr] {
        self.wire.places()
    }

    pub(super) fn carried(&self) -> Carried {
        self.wire.carried()
    }

    pub(super) fn cut_since(&self) -> Option<Instant> {
        self.cut.map(|mark| mark.at)
    }

    /// Cuts the way; what there is to say.
    pub(super) fn cut(&mut self, now: Mark) -> String {
        let number = self.number;
        if self.cut.is_some() {
            return format!("the way to site {number} is cut already: `h {number}` heals it");
        }
        self.wire.cut(Cut::Silent);
        (self.cut, self.healed) = (Some(now), None);
        format!("the way to site {number} is cut: nothing passes, and nobody is told")
    }

    /// Heals the way; what there is to say.
    pub(super) fn heal(&mut self, now: Mark) -> String {
        let number = self.number;
        let Some(cut) = self.cut.take() else {
            return format!("the way to site {number} is whole: `x {number}` cuts it");
        };
        self.wire.heal();
        self.healed = Some(Mark { site: now.site, ..now });
        format!(
            "the way to site {number} is healed after {}: {} reads were answered there meanwhile, \
             {} failed",
            seconds(now.at - cut.at),
            now.reads.0 - cut.reads.0,
            now.reads.1 - cut.reads.1,
        )
    }

    /// Says once that the site has everything that it missed.
    pub(super) fn level(&mut self, now: Mark) -> Option<String> {
        let healed = self.healed.filter(|healed| healed.leader <= now.site)?;
        self.healed = None;
        Some(format!(
            "site {} is level again {} after that: {} writes were missed, {} crossed",
            self.number,
            seconds(now.at - healed.at),
            missed(healed.site, healed.leader),
            bytes(now.carried.total() - healed.carried.total()),
        ))
    }
}

/// How many transactions lie between two places, as far as one epoch tells.
pub(super) fn missed(from: u64, upto: u64) -> String {
    const COUNTER: u64 = 0xffff_ffff;
    match from >> 32 == upto >> 32 {
        true => upto.saturating_sub(from).to_string(),
        false if from < upto => format!("{}+", upto & COUNTER),
        false => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::missed;

    #[test]
    fn what_is_missed_is_counted_within_one_epoch() {
        assert_eq!(missed(0x5_0000_0007, 0x5_0000_0009), "2");
        assert_eq!(missed(0x5_0000_0009, 0x5_0000_0007), "0");
        assert_eq!(missed(0x4_0000_0007, 0x5_0000_0003), "3+");
        assert_eq!(missed(0x5_0000_0007, 0x4_0000_0003), "0");
    }
}

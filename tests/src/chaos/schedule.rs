//! The schedule of faults, which follows from the seed alone.

use std::{fmt, str::FromStr};

/// A kind of fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of a consumer, and the start of another one in its place.
    ConsumerKill,
    /// kill -9 of the producer, then `producer resume`.
    ProducerKill,
    /// kill -9 of the broker (all its nodes), and a restart with the same data.
    BrokerKill,
    /// kill -9 of one of three broker nodes, and its restart.
    Cluster,
    /// Connections are cut or refused, or forward nothing for longer than the heartbeat.
    NetworkCut,
    /// Connections forward everything late, or a few bytes at a time.
    NetworkDelay,
    /// SIGSTOP of a consumer for longer than the heartbeat, then SIGCONT.
    ConsumerFreeze,
    /// The broker's memory limit is set so low that it blocks publishers, and is later raised
    /// again.
    MemoryAlarm,
    /// The disk under the producer's folder is full; later there is room again, then `producer
    /// resume`.
    DiskFull,
    /// kill -9 of the InfluxDB that all processes write to, and its restart.
    InfluxGone,
    /// The clocks of all processes under test jump by hours, forwards or backwards.
    ClockJump,
}

const NAMES: [(Fault, &str); 11] = [
    (Fault::ConsumerKill, "consumer-kill"),
    (Fault::ProducerKill, "producer-kill"),
    (Fault::BrokerKill, "broker-kill"),
    (Fault::Cluster, "cluster"),
    (Fault::NetworkCut, "network-cut"),
    (Fault::NetworkDelay, "network-delay"),
    (Fault::ConsumerFreeze, "consumer-freeze"),
    (Fault::MemoryAlarm, "memory-alarm"),
    (Fault::DiskFull, "disk-full"),
    (Fault::InfluxGone, "influx-gone"),
    (Fault::ClockJump, "clock-jump"),
];

impl Fault {
    /// All kinds of faults.
    pub fn all() -> Vec<Self> {
        NAMES.iter().map(|(fault, _)| *fault).collect()
    }

    /// The fault's name on the command line.
    pub fn name(self) -> &'static str {
        let named = NAMES.iter().find(|(fault, _)| *fault == self);
        named.map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(fault, _)| *fault).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(_, name)| *name).collect();
            format!(
                "there is no fault '{text}': choose from all, {}",
                names.join(", ")
            )
        })
    }
}

/// A stream of random numbers from a seed (SplitMix64): repeatable, and good enough to choose
/// victims.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `end - 1`; `end` must not be zero.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A number from `low` to `high`, both inclusive.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

/// One scheduled occurrence of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// The fault strikes when this many results have been written.
    pub at: u64,
    /// The kind of fault.
    pub fault: Fault,
    /// Seed of the details: the victim and the duration.
    pub seed: u64,
}

/// The strikes of one run of `units` units, sorted by time: `hits` of each fault. About a third of
/// those that follow a different fault strike together with it; a second strike of the same fault
/// would find its victim already down.
pub fn schedule(seed: u64, faults: &[Fault], units: u64, hits: u64) -> Vec<Strike> {
    let mut strikes = Vec::new();
    for fault in faults {
        // Each fault has a stream of its own, so that it strikes alone as it does among others.
        let mut dice = Dice::new(seed ^ ((*fault as u64 + 1) << 32));
        for _ in 0..hits {
            strikes.push(Strike {
                at: dice.between(units / 50, units * 4 / 5),
                fault: *fault,
                seed: dice.below(u64::MAX),
            });
        }
    }
    strikes.sort_by_key(|strike| (strike.at, strike.fault));
    let mut dice = Dice::new(seed);
    for next in 1..strikes.len() {
        if dice.below(3) == 0 && strikes[next].fault != strikes[next - 1].fault {
            strikes[next].at = strikes[next - 1].at;
        }
    }
    strikes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_repeats_with_its_seed_and_only_with_it() {
        let all = Fault::all();
        let one = schedule(1, &all, 10_000, 3);
        assert_eq!(one, schedule(1, &all, 10_000, 3));
        assert_ne!(one, schedule(2, &all, 10_000, 3));
        assert_eq!(one.len(), 3 * all.len());
        assert!(one.iter().all(|strike| (200..=8000).contains(&strike.at)));
        assert!(one.is_sorted_by_key(|strike| strike.at));
        assert!(one.windows(2).any(|pair| pair[0].at == pair[1].at));
        let alone = schedule(7, &[Fault::BrokerKill], 10_000, 3);
        assert!(alone.windows(2).all(|pair| pair[0].at < pair[1].at));
    }

    #[test]
    fn names_are_read_back() {
        for fault in Fault::all() {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert!("fire".parse::<Fault>().is_err());
    }
}

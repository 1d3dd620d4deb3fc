//! Decides when the reasons of dead letters are read again.

use std::time::{Duration, Instant};

use super::letter::DeadLetter;
use crate::report::{DeadLetters, count_reasons};

/// Shortest time between two reads.
const PAUSE: Duration = Duration::from_secs(30);

/// Reads after which a letter is left alone. Without the policy `primepool-kept` of infra/rabbitmq,
/// RabbitMQ 4 deletes a message that was requeued 20 times.
pub(crate) const MAX_READS: u64 = 10;

/// The reasons read last, and when. A read takes the letters out of their queue and puts them back;
/// therefore it happens only when their number has changed.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterPoll {
    last: Option<(u64, Instant)>,
    seen: DeadLetters,
    is_suspended: bool,
}

impl DeadLetterPoll {
    /// Whether to read the letters; `letters`: their number now.
    pub(crate) fn is_due(&self, letters: u64, now: Instant) -> bool {
        if letters == 0 || self.is_suspended {
            return false;
        }
        match self.last {
            None => true,
            Some((seen, at)) => seen != letters && now.saturating_duration_since(at) >= PAUSE,
        }
    }

    /// Whether the letters are left alone from now on, because one was read [`MAX_READS`] times.
    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// Records the letters that were read; `letters`: the number in the queue at that time.
    pub(crate) fn note(&mut self, letters: u64, shown: &[DeadLetter], now: Instant) {
        self.last = Some((letters, now));
        self.is_suspended = shown.iter().any(|letter| letter.looks >= MAX_READS);
        self.seen.reasons = count_reasons(shown.iter().map(|letter| &*letter.reason));
    }

    /// The known reasons; `letters`: the number in the queue now.
    pub(crate) fn known(&mut self, letters: u64) -> DeadLetters {
        self.seen.letters = letters;
        if letters == 0 {
            *self = Self::default();
        }
        self.seen.clone()
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    #[test]
    fn letters_are_looked_at_only_when_their_number_changes_and_not_too_often() {
        let (mut poll, now) = (DeadLetterPoll::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        assert!(!poll.is_due(0, now));
        assert!(poll.is_due(2, now));
        let mut letter = DeadLetter::of(&BasicProperties::default(), b"");
        poll.note(2, &[letter.clone(), letter.clone()], now);
        assert_eq!(poll.known(2).reasons[0].letters, 2);
        assert!(!poll.is_due(2, at(100)), "nothing is new");
        assert!(!poll.is_due(3, at(1)), "too soon");
        assert!(poll.is_due(3, at(31)));
        letter.looks = MAX_READS;
        poll.note(3, &[letter], at(31));
        assert!(!poll.is_due(4, at(100)), "the broker may delete it");
        assert_eq!(poll.known(0), DeadLetters::default());
        assert!(poll.is_due(1, at(101)));
    }
}

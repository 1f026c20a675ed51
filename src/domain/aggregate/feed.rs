//! Feed loss: gaps in a sender's counter. Duplicates and re-ordering are harmless.

use std::collections::HashMap;

use crate::domain::names::Name;

/// One sender's counter.
#[derive(Debug)]
pub(super) struct Feed {
    host: Option<Name>,
    pid: Option<u32>,
    highest: u64,
    /// Which of the 64 numbers below the highest were seen; bit 0 is the one just below.
    seen: u64,
}

/// The counters of an attempt's senders.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    feeds: Vec<Feed>,
    places: HashMap<(Option<Name>, Option<u32>), usize>,
    /// The sender heard of last: most often the next one, too.
    hint: usize,
    lost: u64,
}

impl Feeds {
    /// Counters that begin with what was lost before.
    pub(super) fn with_lost(lost: u64) -> Feeds {
        Feeds { lost, ..Feeds::default() }
    }

    /// Events that never came.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Notes a number; at most `room` senders are followed.
    pub(super) fn note(&mut self, host: &Option<Name>, pid: Option<u32>, seq: u64, room: usize) {
        let hinted = self.feeds.get(self.hint).is_some_and(|feed| feed.pid == pid && feed.host == *host);
        let place = if hinted { Some(self.hint) } else { self.places.get(&(host.clone(), pid)).copied() };
        match place {
            Some(place) => {
                self.hint = place;
                self.lost = self.feeds[place].note(seq, self.lost);
            }
            None if self.feeds.len() < room => {
                self.places.insert((host.clone(), pid), self.feeds.len());
                self.feeds.push(Feed { host: host.clone(), pid, highest: seq, seen: u64::MAX });
            }
            None => {}
        }
    }
}

impl Feed {
    /// Notes a number, given what was lost so far; gives what is lost with it.
    fn note(&mut self, seq: u64, lost: u64) -> u64 {
        if seq > self.highest {
            let ahead = seq - self.highest;
            self.seen = if ahead > 64 { 0 } else { shifted(self.seen, ahead) | (1 << (ahead - 1)) };
            self.highest = seq;
            return lost.saturating_add(ahead - 1);
        }
        let behind = self.highest - seq;
        if behind == 0 || behind > 64 {
            return lost;
        }
        let bit = 1 << (behind - 1);
        let late = self.seen & bit == 0;
        self.seen |= bit;
        if late { lost.saturating_sub(1) } else { lost }
    }
}

fn shifted(bits: u64, by: u64) -> u64 {
    if by >= 64 { 0 } else { bits << by }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(numbers: &[u64]) -> u64 {
        let mut feeds = Feeds::default();
        for number in numbers {
            feeds.note(&None, Some(1), *number, 8);
        }
        feeds.lost()
    }

    #[test]
    fn gaps_are_lost_events() {
        assert_eq!(lost(&[5, 6, 7]), 0);
        assert_eq!(lost(&[5, 8]), 2);
        assert_eq!(lost(&[1, 1000]), 998);
    }

    #[test]
    fn duplicates_and_reordering_are_harmless() {
        assert_eq!(lost(&[1, 2, 2, 3, 3, 1]), 0);
        assert_eq!(lost(&[1, 3, 2, 4]), 0);
        assert_eq!(lost(&[1, 5, 3, 3, 4]), 1);
    }

    #[test]
    fn each_sender_counts_for_itself() {
        let mut feeds = Feeds::default();
        feeds.note(&None, Some(1), 10, 8);
        feeds.note(&None, Some(2), 1, 8);
        feeds.note(&None, Some(1), 11, 8);
        feeds.note(&None, Some(2), 2, 8);
        assert_eq!(feeds.lost(), 0);
    }
}

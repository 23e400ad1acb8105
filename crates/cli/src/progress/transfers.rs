//! Pulls, pushes and what shared caches send and get: bytes, rate and time left, for each repository.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use xbuild_model::transfer::{Direction, Transfer, TransferState};

use crate::commands::du::size;
use crate::progress::words;
use crate::report::printable;

/// The time that a rate is the mean of.
const WINDOW: Duration = Duration::from_secs(5);

/// The shortest time that a rate can be told from.
const SHORTEST: Duration = Duration::from_millis(500);

/// The time between two lines about a repository in a log.
const REPORT: Duration = Duration::from_secs(10);

/// The transfers of a build.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    flows: Vec<Flow>,
    /// What was under way without a pause, in the order of the ends.
    pub(crate) spells: Vec<Spell>,
}

/// A time in which something was pulled from a repository, or pushed to it, without a pause.
#[derive(Debug)]
pub(crate) struct Spell {
    /// The direction and the repository.
    pub(crate) name: String,
    /// When it began.
    pub(crate) began: Instant,
    /// When it ended.
    pub(crate) ended: Instant,
    /// The bytes that were moved.
    pub(crate) bytes: u64,
}

/// The transfers from or to one repository.
#[derive(Debug)]
struct Flow {
    direction: Direction,
    place: String,
    /// The transfers under way: the bytes to move, if they are known, and those that were moved.
    parts: HashMap<u64, (Option<u64>, u64)>,
    /// The bytes that were moved.
    moved: u64,
    /// The bytes to move, of transfers that know it.
    total: u64,
    /// The time in which something was under way, without the time since `since`.
    before: Duration,
    /// When something began, if it still is under way.
    since: Option<Instant>,
    /// The bytes that were moved by then.
    moved_before: u64,
    /// The bytes that were moved by some points in time.
    samples: VecDeque<(Instant, u64)>,
    /// When a log last had a line about it.
    told: Instant,
}

impl Transfers {
    /// Takes a state of a transfer. Returns a line about the repository if a log should have one now.
    pub(crate) fn take(
        &mut self,
        transfer: &Transfer,
        state: TransferState,
        now: Instant,
    ) -> Option<String> {
        let flow = self.flow(transfer, now);
        match state {
            TransferState::Began => {
                flow.parts.insert(transfer.id, (transfer.total, 0));
                flow.total += transfer.total.unwrap_or(0);
                if flow.since.is_none() {
                    (flow.since, flow.moved_before) = (Some(now), flow.moved);
                }
                None
            }
            TransferState::Moved(bytes) => {
                flow.moved += bytes;
                if let Some((_, moved)) = flow.parts.get_mut(&transfer.id) {
                    *moved += bytes;
                }
                flow.sample(now);
                let is_due = now.duration_since(flow.told) >= REPORT;
                is_due.then(|| {
                    flow.told = now;
                    format!("{}: {}", flow.name(), flow.state(now))
                })
            }
            TransferState::Ended => {
                let spell = flow.end(transfer.id, now);
                self.spells.extend(spell);
                None
            }
        }
    }

    fn flow(&mut self, transfer: &Transfer, now: Instant) -> &mut Flow {
        let Transfer { direction, place, .. } = transfer;
        let is_it = |flow: &Flow| flow.direction == *direction && flow.place == *place;
        let at = self.flows.iter().position(is_it).unwrap_or_else(|| {
            self.flows.push(Flow::new(*direction, place.clone(), now));
            self.flows.len() - 1
        });
        &mut self.flows[at]
    }

    /// Returns what is under way: the repository, and how far it is.
    pub(crate) fn under_way(&self, now: Instant) -> Vec<(String, String)> {
        let flows = self.flows.iter().filter(|flow| flow.since.is_some());
        flows.map(|flow| (flow.name(), flow.state(now))).collect()
    }

    /// Takes the pulls that have ended, as a line each. Pushes may go on with the next layer: they end
    /// with [`all_ended`](Self::all_ended).
    pub(crate) fn ended_pulls(&mut self) -> Vec<String> {
        self.ended(|flow| !flow.direction.is_outward())
    }

    /// Takes everything that has ended, as a line each.
    pub(crate) fn all_ended(&mut self) -> Vec<String> {
        self.ended(|_| true)
    }

    fn ended(&mut self, which: impl Fn(&Flow) -> bool) -> Vec<String> {
        let ended = self.flows.extract_if(.., |flow| flow.since.is_none() && which(flow));
        ended.filter(|flow| flow.moved > 0).map(|flow| flow.summary()).collect()
    }
}

impl Flow {
    fn new(direction: Direction, place: String, now: Instant) -> Self {
        Self {
            direction,
            place,
            parts: HashMap::new(),
            moved: 0,
            total: 0,
            before: Duration::ZERO,
            since: None,
            moved_before: 0,
            samples: VecDeque::new(),
            told: now,
        }
    }

    fn name(&self) -> String {
        format!("{} {}", self.direction, printable(&self.place))
    }

    fn sample(&mut self, now: Instant) {
        // A sample for each tenth of the window is enough.
        let is_due = |(last, _): &(Instant, u64)| now.duration_since(*last) >= WINDOW / 10;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now, self.moved));
        }
        while self.samples.len() > 1 && now.duration_since(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// Ends a transfer. Returns the time in which something was under way if nothing is any more.
    fn end(&mut self, id: u64, now: Instant) -> Option<Spell> {
        // Bytes that never came, or came twice, are not to be waited for.
        if let Some((Some(total), moved)) = self.parts.remove(&id) {
            self.total = self.total - total + moved;
        }
        if !self.parts.is_empty() {
            return None;
        }
        let began = self.since.take()?;
        self.before += now.duration_since(began);
        self.samples.clear();
        let bytes = self.moved - self.moved_before;
        Some(Spell { name: self.name(), began, ended: now, bytes })
    }

    /// Returns the bytes a second of late.
    fn rate(&self, now: Instant) -> Option<f64> {
        let (first, moved) = self.samples.front()?;
        let time = now.duration_since(*first);
        (time >= SHORTEST).then(|| (self.moved - moved) as f64 / time.as_secs_f64())
    }

    /// Returns bytes, rate and time left.
    fn state(&self, now: Instant) -> String {
        let is_known = self.parts.values().all(|(total, _)| total.is_some());
        let mut text = size(self.moved);
        if is_known {
            text += &format!(" of {}", size(self.total.max(self.moved)));
        }
        let Some(rate) = self.rate(now) else { return text };
        text += &format!("  {}/s", size(rate as u64));
        if is_known && rate >= 1.0 {
            let left = self.total.saturating_sub(self.moved) as f64 / rate;
            text += &format!("  {} left", words::time_left(left));
        }
        text
    }

    fn summary(&self) -> String {
        let seconds = self.before.as_secs_f64();
        let rate = match seconds >= 0.05 {
            true => format!(", {}/s", size((self.moved as f64 / seconds) as u64)),
            false => String::new(),
        };
        format!("{}: {} in {}{rate}", self.name(), size(self.moved), words::seconds(self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn transfer(direction: Direction, total: Option<u64>) -> Transfer {
        let blob = total.map(|total| (xbuild_model::Digest::of(b"x"), total));
        Transfer::new(direction, "r.example/a".to_owned(), blob)
    }

    #[test]
    fn a_pull_has_bytes_rate_and_time_left() {
        let (mut transfers, start) = (Transfers::default(), Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let pull = transfer(Direction::Pull, Some(100 * MIB));
        let take = |transfers: &mut Transfers, state, seconds| {
            transfers.take(&pull, state, after(seconds))
        };
        assert_eq!(take(&mut transfers, TransferState::Began, 0), None);
        let row = |transfers: &Transfers, seconds| transfers.under_way(after(seconds));
        let name = || "pull r.example/a".to_owned();
        assert_eq!(row(&transfers, 0), [(name(), "0 B of 100.0 MiB".to_owned())]);
        take(&mut transfers, TransferState::Moved(10 * MIB), 1);
        take(&mut transfers, TransferState::Moved(10 * MIB), 2);
        let state = "20.0 MiB of 100.0 MiB  10.0 MiB/s  8s left".to_owned();
        assert_eq!(row(&transfers, 2), [(name(), state)]);
        let report = take(&mut transfers, TransferState::Moved(20 * MIB), 12).unwrap();
        assert!(report.starts_with("pull r.example/a: 40.0 MiB of 100.0 MiB"), "{report}");
        assert_eq!(take(&mut transfers, TransferState::Moved(60 * MIB), 13), None);
        assert_eq!(transfers.ended_pulls(), [""; 0]);
        take(&mut transfers, TransferState::Ended, 20);
        assert_eq!(row(&transfers, 20), []);
        assert_eq!(transfers.ended_pulls(), ["pull r.example/a: 100.0 MiB in 20.0s, 5.0 MiB/s"]);
        assert_eq!(transfers.all_ended(), [""; 0]);
    }

    #[test]
    fn a_cache_has_lines_of_its_own() {
        let (mut transfers, now) = (Transfers::default(), Instant::now());
        let all = [Direction::Push, Direction::CacheTo, Direction::Pull, Direction::CacheFrom];
        for direction in all {
            let one = transfer(direction, Some(MIB));
            for state in [TransferState::Began, TransferState::Moved(MIB), TransferState::Ended] {
                transfers.take(&one, state, now);
            }
        }
        let line = |name: &str| format!("{name} r.example/a: 1.0 MiB in 0.0s");
        assert_eq!(transfers.ended_pulls(), ["pull", "cache from"].map(line));
        assert_eq!(transfers.all_ended(), ["push", "cache to"].map(line));
    }

    #[test]
    fn a_push_rests_until_the_next_layer() {
        let (mut transfers, start) = (Transfers::default(), Instant::now());
        for (total, begin, end) in [(Some(MIB), 0, 1), (None, 100, 103)] {
            let push = transfer(Direction::Push, total);
            let at = |seconds: u64| start + Duration::from_secs(seconds);
            transfers.take(&push, TransferState::Began, at(begin));
            transfers.take(&push, TransferState::Moved(MIB), at(begin));
            let states = transfers.under_way(at(begin));
            assert_eq!(states[0].1.contains("of"), total.is_some(), "{states:?}");
            transfers.take(&push, TransferState::Ended, at(end));
        }
        assert_eq!(transfers.ended_pulls(), [""; 0]);
        let line = "push r.example/a: 2.0 MiB in 4.0s, 512.0 KiB/s";
        assert_eq!(transfers.all_ended(), [line]);
    }
}

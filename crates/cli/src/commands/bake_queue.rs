//! The order of the builds of a selection: a target that is a context of others is built before them, and
//! all others at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_bake::{Selection, Target};

/// A build of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work<'a> {
    /// The target.
    pub(super) name: &'a str,
    pub(super) target: &'a Target,
    /// The platforms of the builds that it is a context of, if it is built for them: a target that is asked
    /// for, too, is built a second time for itself, from the same steps.
    pub(super) as_context: Option<BTreeSet<&'a str>>,
}

impl<'a> Work<'a> {
    /// Returns the targets that are its contexts.
    fn contexts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.target.contexts.values().filter_map(|place| place.strip_prefix("target:"))
    }
}

/// Returns the builds of a selection, contexts of others first, then by name.
pub(super) fn works(selection: &Selection) -> Vec<Work<'_>> {
    let mut users: BTreeMap<&str, Vec<Work<'_>>> = BTreeMap::new();
    let all =
        selection.targets.iter().map(|(name, target)| Work { name, target, as_context: None });
    for work in all.clone() {
        for linked in work.contexts() {
            users.entry(linked).or_default().push(work.clone());
        }
    }
    let mut known = BTreeMap::new();
    let links = users.keys().filter_map(|name| {
        let target = selection.targets.get(*name)?;
        let work = Work { name, target, as_context: None };
        let platforms = platforms_as_context(&work, &users, &mut known);
        Some(Work { as_context: Some(platforms), ..work })
    });
    let links: Vec<Work<'_>> = links.collect();
    links.into_iter().chain(all.filter(|work| !work.target.is_linked)).collect()
}

/// The platform of a build that names none.
pub(super) const DEFAULT: &str = "";

/// Returns the platforms of the builds that a target is a context of, through others as well. There are no
/// circles of contexts.
fn platforms_as_context<'a>(
    work: &Work<'a>,
    users: &BTreeMap<&'a str, Vec<Work<'a>>>,
    known: &mut BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    if let Some(platforms) = known.get(work.name) {
        return platforms.clone();
    }
    let mut platforms = BTreeSet::new();
    for user in users.get(work.name).into_iter().flatten() {
        if let Some(own) = user.target.platforms.as_ref().filter(|own| !own.is_empty()) {
            platforms.extend(own.iter().map(String::as_str));
            continue;
        }
        if !user.target.is_linked {
            platforms.insert(DEFAULT);
        }
        // As a context of others it is built for theirs.
        platforms.extend(platforms_as_context(user, users, known));
    }
    known.insert(work.name, platforms.clone());
    platforms
}

/// Builds that wait for others, or for a thread.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<'a> {
    waiting: Vec<Work<'a>>,
    /// The number of builds under way.
    at_work: usize,
    /// The layouts of targets that are contexts.
    links: BTreeMap<String, String>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(waiting: Vec<Work<'a>>) -> Self {
        let state = State { waiting, at_work: 0, links: BTreeMap::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a build whose contexts are there; `None` if there are no more.
    pub(super) fn take(&self) -> Option<Work<'a>> {
        let mut state = self.lock();
        loop {
            let is_ready =
                |work: &Work<'_>| work.contexts().all(|name| state.links.contains_key(name));
            if let Some(at) = state.waiting.iter().position(is_ready) {
                state.at_work += 1;
                return Some(state.waiting.remove(at));
            }
            if state.waiting.is_empty() || state.at_work == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the end of a build, and the layout of one that is a context.
    pub(super) fn done(&self, name: &str, layout: Option<String>) {
        let mut state = self.lock();
        state.at_work = state.at_work.saturating_sub(1);
        state.links.extend(layout.map(|layout| (name.to_owned(), layout)));
        self.changed.notify_all();
    }

    /// Lets no more builds begin.
    pub(super) fn end(&self) {
        self.lock().waiting.clear();
        self.changed.notify_all();
    }

    /// Returns the layouts of targets that are contexts, as far as they are built.
    pub(super) fn links(&self) -> BTreeMap<String, String> {
        self.lock().links.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        // The state is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(targets: &[(&str, &[&str], bool)]) -> Selection {
        let target = |(name, contexts, is_linked): &(&str, &[&str], bool)| {
            let contexts = contexts.iter().map(|of| ((*of).to_owned(), format!("target:{of}")));
            let (contexts, is_linked) = (contexts.collect(), *is_linked);
            ((*name).to_owned(), Target { contexts, is_linked, ..Target::default() })
        };
        Selection { targets: targets.iter().map(target).collect(), ..Selection::default() }
    }

    fn name(work: Option<Work<'_>>) -> Option<String> {
        work.map(|work| {
            format!("{}{}", work.name, if work.as_context.is_some() { "+" } else { "" })
        })
    }

    #[test]
    fn contexts_come_before_their_users_and_others_at_any_time() {
        let selection = selection(&[
            ("app", &["mid"], false),
            ("base", &[], true),
            ("mid", &["base"], false),
            ("tool", &[], false),
        ]);
        let queue = Queue::new(works(&selection));
        let next = || name(queue.take());
        assert_eq!([next(), next()], [Some("base+".to_owned()), Some("tool".to_owned())]);
        queue.done("base", Some("layout".to_owned()));
        assert_eq!([next(), next()], [Some("mid+".to_owned()), Some("mid".to_owned())]);
        queue.done("tool", None);
        queue.done("mid", Some("layout".to_owned()));
        assert_eq!([next(), next()], [Some("app".to_owned()), None]);
        assert_eq!(queue.links().len(), 2);
    }

    #[test]
    fn a_context_has_the_platforms_of_all_builds_that_use_it() {
        let mut selection = selection(&[
            ("app", &["mid"], false),
            ("base", &[], true),
            ("deep", &[], true),
            ("host", &["base"], false),
            ("mid", &["base", "deep"], true),
        ]);
        let platforms = ["linux/amd64", "linux/arm64"].map(str::to_owned).to_vec();
        selection.targets.get_mut("app").unwrap().platforms = Some(platforms);
        let works = works(&selection);
        let of = |name: &str| {
            let work = works.iter().find(|work| work.name == name && work.as_context.is_some());
            work.unwrap().as_context.clone().unwrap().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(of("mid"), ["linux/amd64", "linux/arm64"]);
        assert_eq!(of("deep"), ["linux/amd64", "linux/arm64"]);
        assert_eq!(of("base"), [DEFAULT, "linux/amd64", "linux/arm64"]);
    }

    #[test]
    fn nobody_waits_for_a_build_that_will_never_end() {
        let selection = selection(&[("app", &["base"], false), ("base", &[], true)]);
        let queue = Queue::new(works(&selection));
        assert_eq!(name(queue.take()).as_deref(), Some("base+"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| name(queue.take()));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!waiting.is_finished());
            queue.end();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}

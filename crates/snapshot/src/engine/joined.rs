//! Deep stacks: their lower parts, each mounted once for all steps on top of it.
//!
//! overlayfs works on each folder of a mount, and again on each of them when a command looks for a
//! file. To spare a step on hundreds of layers this work, the lower part of its stack is mounted
//! ahead, and that mount is one of the step's folders. The length of a part is a multiple of
//! [`GROWTH`], so that many steps can share it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_model::rootfs::Joined;
use xbuild_model::seam::Namespace;
use xbuild_store::{Store, TempFolder};

/// The depth from which on stacks are deep. Others are mounted as they are: files of a part have
/// inode numbers of 64 bits, which programs that count in doubles cannot tell apart. Docker takes no
/// image of more than 127 layers.
const DEEP: usize = 128;

/// The number of layers by which parts grow. Making a part takes as long as a step on the same
/// layers: a small number makes many parts, a large one leaves many layers to each step.
const GROWTH: usize = 32;

/// The most layers of a part, of the 500 that overlayfs takes.
const LIMIT: usize = 480;

/// Parts that are kept. As many branches of a build can be deep at the same time without making
/// parts again. A part takes a little kernel memory for each layer.
const KEPT: usize = 8;

/// The lower part of a stack, mounted as long as this exists.
#[derive(Debug)]
pub(super) struct Part {
    /// The folders, newest first.
    lowers: Vec<PathBuf>,
    /// The mount point in the build's namespace. Outside of it, it is an empty folder. The mount
    /// ends when the folder is removed.
    point: TempFolder,
}

impl Part {
    /// Returns the facts that a step needs to mount it.
    pub(super) fn joined(&self) -> Joined {
        Joined { count: self.lowers.len(), point: self.point.path().to_owned() }
    }
}

/// The parts of this build.
#[derive(Debug, Default)]
pub(super) struct Parts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The parts; the last one used is at the end.
    parts: Vec<Arc<Part>>,
    /// Whether the kernel refuses such mounts.
    refused: bool,
}

impl Parts {
    /// Returns the lower part of a deep stack, and mounts it if needed. `lowers` are the folders of
    /// the stack, newest first. `None` if the stack is not deep, or if the kernel refuses such
    /// mounts, which is tried once.
    pub(super) fn of(
        &self,
        lowers: &[PathBuf],
        namespace: &dyn Namespace,
        store: &Store,
    ) -> Option<Arc<Part>> {
        if lowers.len() < DEEP {
            return None;
        }
        let count = (lowers.len() / GROWTH * GROWTH).min(LIMIT);
        let lowers = &lowers[lowers.len() - count..];
        // Other deep stacks wait: they may need the same part.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.refused {
            return None;
        }
        let known = state.parts.iter().position(|part| part.lowers == lowers);
        let part = match known {
            Some(position) => state.parts.remove(position),
            None => {
                let mounted = store.temp_dir("joined").ok().and_then(|point| {
                    namespace.join(lowers, point.path()).ok()?;
                    Some(Arc::new(Part { lowers: lowers.to_vec(), point }))
                });
                let Some(part) = mounted else {
                    state.refused = true;
                    return None;
                };
                if state.parts.len() == KEPT {
                    state.parts.remove(0);
                }
                part
            }
        };
        state.parts.push(Arc::clone(&part));
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use xbuild_model::records::Owners;
    use xbuild_model::rootfs::RootKind;
    use xbuild_model::seam::PendingTask;
    use xbuild_model::{FailureKind, StepFailure};

    use super::*;

    /// Takes note of what is joined, as its newest folder and their number.
    #[derive(Default)]
    struct Namer {
        joined: Mutex<Vec<(PathBuf, usize)>>,
        refuses: bool,
    }

    impl Namespace for Namer {
        fn start(
            &self,
            _: &'static str,
            _: Vec<u8>,
            _: Vec<OwnedFd>,
        ) -> Result<Box<dyn PendingTask>, StepFailure> {
            unreachable!("no task")
        }

        fn map_name(&self) -> Result<String, StepFailure> {
            unreachable!("no folder")
        }

        fn owners(&self) -> Result<Owners, StepFailure> {
            unreachable!("no folder")
        }

        fn root_kind(&self) -> Result<RootKind, StepFailure> {
            unreachable!("no step")
        }

        fn join(&self, lowers: &[PathBuf], point: &Path) -> Result<(), StepFailure> {
            assert_eq!(std::fs::read_dir(point).unwrap().count(), 0);
            self.joined.lock().unwrap().push((lowers[0].clone(), lowers.len()));
            let refused = || StepFailure::new(FailureKind::Environment, std::fmt::Error);
            if self.refuses { Err(refused()) } else { Ok(()) }
        }
    }

    struct Setup {
        parts: Parts,
        namer: Namer,
        store: Store,
        _temp: tempfile::TempDir,
    }

    fn setup(refuses: bool) -> Setup {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        let namer = Namer { refuses, ..Namer::default() };
        Setup { parts: Parts::default(), namer, store, _temp: temp }
    }

    impl Setup {
        /// Asks for the part of a stack of layers named `NAME-NUMBER`.
        fn part(&self, name: &str, depth: usize) -> Option<Arc<Part>> {
            let lowers = (0..depth).rev().map(|number| PathBuf::from(format!("{name}-{number}")));
            self.parts.of(&lowers.collect::<Vec<_>>(), &self.namer, &self.store)
        }

        fn joined(&self) -> Vec<(PathBuf, usize)> {
            std::mem::take(&mut self.namer.joined.lock().unwrap())
        }
    }

    #[test]
    fn parts_grow_with_the_stack() {
        let setup = setup(false);
        assert!((0..128).all(|depth| setup.part("a", depth).is_none()));
        let counts: Vec<usize> =
            (128..600).map(|depth| setup.part("a", depth).unwrap().joined().count).collect();
        assert!(counts.iter().zip(128..512).all(|(count, depth)| depth - count < 32));
        assert_eq!(counts[512 - 128..], [480; 600 - 512]);
        let joined: Vec<usize> = setup.joined().iter().map(|(_, count)| *count).collect();
        assert_eq!(joined, (4..=15).map(|number| number * 32).collect::<Vec<_>>());
    }

    #[test]
    fn the_last_ones_are_kept() {
        let setup = setup(false);
        let points: Vec<PathBuf> = (0..20)
            .map(|name| setup.part(&name.to_string(), 128).unwrap().joined().point)
            .collect();
        assert_eq!(setup.joined().len(), 20);
        assert_eq!(points.iter().filter(|point| point.exists()).count(), KEPT);
        let held = setup.part("12", 140).unwrap();
        assert_eq!(setup.joined(), []);
        for name in 20..40 {
            setup.part(&name.to_string(), 128).unwrap();
        }
        // A part stays as long as somebody holds it.
        assert!(points[12].exists());
        drop(held);
        assert!(!points[12].exists());
    }

    #[test]
    fn what_is_refused_once_is_not_tried_again() {
        let setup = setup(true);
        assert!(setup.part("a", 128).is_none());
        assert!(setup.part("a", 150).is_none());
        assert_eq!(setup.joined(), [(PathBuf::from("a-127"), 128)]);
        let session = setup.store.temp_dir("after").unwrap();
        let folder = session.path().parent().unwrap();
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("joined")));
    }
}

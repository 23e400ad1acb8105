//! The results of COPY steps, remembered from one build to the next.

use xbuild_files::Context;
use xbuild_files::copy::{self, Prepared};
use xbuild_model::file_op::{CopyOrigin, FileOp};
use xbuild_model::{Chain, Digest};
use xbuild_store::SelectionRecord;

use super::shared::Shared;
use crate::EngineError;

/// Returns the content key of a step if everything that it looks at is unchanged.
pub(super) fn content(
    shared: &Shared,
    parent: &Chain,
    op: &FileOp,
    origin: Option<&CopyOrigin>,
) -> Result<Option<Digest>, EngineError> {
    let Some((context, key)) = place(shared, parent, op, origin) else { return Ok(None) };
    let Some(record) = shared.store.selection(&key)? else { return Ok(None) };
    if copy::needs_parent(op) {
        shared.known(|known| known.looked_at.extend(parent.0.iter().cloned()));
    }
    // A failure here occurs again where it is reported.
    let survey = copy::take_survey(context, op).ok().flatten();
    Ok((survey == Some(record.survey)).then_some(record.content))
}

/// Remembers the result of a step, if a later build can detect changes.
pub(super) fn keep(
    shared: &Shared,
    parent: &Chain,
    op: &FileOp,
    origin: Option<&CopyOrigin>,
    prepared: &Prepared,
) -> Result<(), EngineError> {
    let survey = prepared.survey().filter(|_| !prepared.is_empty());
    let Some(survey) = survey else { return Ok(()) };
    let Some((_, key)) = place(shared, parent, op, origin) else { return Ok(()) };
    // The record counts in later builds, which may not read the shared cache that this one reads.
    if copy::needs_parent(op) && shared.has_unchecked(&parent.0) {
        return Ok(());
    }
    let record = SelectionRecord { survey: survey.clone(), content: prepared.key().clone() };
    Ok(shared.store.put_selection(&key, &record)?)
}

/// Returns the context of a step, and the key of its record. The key covers everything that the
/// content key depends on, except the files of the context.
fn place<'s>(
    shared: &'s Shared,
    parent: &Chain,
    op: &FileOp,
    origin: Option<&CopyOrigin>,
) -> Option<(&'s Context, Digest)> {
    let CopyOrigin::Context(name) = origin? else { return None };
    let context = shared.options.contexts.get(name)?;
    let below = copy::needs_parent(op).then_some(parent);
    // One folder may be several contexts, each with an ignore file of its own.
    let version = format!("selection 1{name}");
    let step = postcard::to_allocvec(&(version, context.identity().ok()?, below, op));
    Some((context, Digest::of(&step.ok()?)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::thread::sleep;
    use std::time::Duration;

    use xbuild_model::seam::{Purpose, Snapshots as _};
    use xbuild_testkit::folders::make_files;
    use xbuild_testkit::requests::copy as request;

    use super::super::tests::{Setup, setup_in};
    use super::*;

    const FROM: CopyOrigin = CopyOrigin::Context(String::new());

    fn folder(files: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        make_files(folder.path(), files);
        folder
    }

    fn context(folder: &tempfile::TempDir) -> Arc<Context> {
        Arc::new(Context::open(folder.path(), None).unwrap())
    }

    fn recall(setup: &Setup, op: &FileOp) -> Option<Digest> {
        setup.engine.recall(&Chain::default(), op, Some(&FROM)).unwrap()
    }

    fn select(setup: &Setup, op: &FileOp) -> Digest {
        setup.engine.select(&Chain::default(), op, Some(&FROM)).unwrap().key().clone()
    }

    #[test]
    fn what_is_as_it_was_is_not_worked_out_again() {
        let files: String = (0..600).map(|n| format!("f d{}/f{n} 0644 - {n}\n", n % 40)).collect();
        let folder = folder(&files);
        let setup = setup_in(context(&folder));
        let op = |line: &str| FileOp::Copy(request(line));
        let all = op("COPY . /to/");
        assert_eq!(recall(&setup, &all), None);
        select(&setup, &all);
        assert_eq!(recall(&setup, &all), None, "the stamps do not tell of a change yet");
        sleep(Duration::from_millis(3100));
        // This process keeps the hashes that were read too early.
        let setup = setup_in(context(&folder));
        let key = select(&setup, &all);
        assert_eq!(recall(&setup, &all), Some(key.clone()));
        assert_eq!(recall(&setup, &op("COPY . /other/")), None);
        assert_eq!(recall(&setup, &op("COPY --chown=7 . /to/")), None);

        let file = folder.path().join("d3/f3");
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        make_files(folder.path(), "f d3/f3 0644 - X");
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        assert_eq!(recall(&setup, &all), None);
        let selection = setup.engine.select(&Chain::default(), &all, Some(&FROM)).unwrap();
        assert_ne!(*selection.key(), key);
        selection.commit(Purpose::default()).unwrap();
    }

    #[test]
    fn a_few_files_are_not_worth_a_record() {
        let folder = folder("f a 0644 - A");
        sleep(Duration::from_millis(3100));
        let setup = setup_in(context(&folder));
        let op = FileOp::Copy(request("COPY . /to/"));
        select(&setup, &op);
        assert_eq!(recall(&setup, &op), None);
    }
}

//! Comparing a step with its last run, to say why it runs again.

use std::collections::BTreeSet;

use xbuild_plan::VertexId;

use crate::reason::{Reason, Setting, StepKind};
use crate::seen::{Part, Seen};

/// Returns why a step runs, from what it is made of now (`new`) and when it last ran (`old`).
/// `kind` is its instruction, `by` the step below it that ran for a reason of its own.
///
/// **Shape** — at least one; reasons in the step itself come before reasons in the layers below.
pub(crate) fn reasons(old: &Seen, new: &Seen, kind: StepKind, by: Option<VertexId>) -> Vec<Reason> {
    let changed = new.parts_other_than(old);
    if changed.contains(&Part::Kind) {
        return vec![Reason::NewInstruction];
    }
    let mut reasons = own(&changed, kind);
    let has = |part| changed.contains(&part);
    let is_on_other_base = has(Part::Base);
    let is_on_others = is_on_other_base || has(Part::Below);
    if !has(Part::Instruction) {
        let changes = new.files().changes_since(old.files());
        // The selection also depends on folders and owners in the layers below. If it differs and
        // no file does, it is a reason only where no other reason is known.
        if changes.is_some() || (has(Part::Selection) && !is_on_others) {
            reasons.push(Reason::Source { kind, changes });
        }
    }
    if is_on_other_base {
        reasons.push(Reason::Base);
    } else if is_on_others {
        reasons.push(Reason::LayersBelow { by });
    }
    if reasons.is_empty() {
        reasons.push(Reason::ResultGone);
    }
    reasons
}

/// Returns the reasons in the instruction and its mounts.
fn own(changed: &BTreeSet<Part>, kind: StepKind) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let (mut arguments, mut variables, mut settings) = (Vec::new(), Vec::new(), Vec::new());
    let mut targets = Vec::new();
    for part in changed {
        match part {
            Part::Command => reasons.push(Reason::Command),
            Part::Instruction => reasons.push(Reason::Instruction(kind)),
            Part::Argument(name) => arguments.push(name.clone()),
            // A variable that ARG set before and ENV sets now is reported once.
            Part::Variable(name) if changed.contains(&Part::Argument(name.clone())) => {}
            Part::Variable(name) => variables.push(name.clone()),
            Part::Setting(setting) => settings.push(Reason::Setting(*setting)),
            Part::MountSource(target) => targets.push(target.clone()),
            Part::Kind | Part::Selection | Part::Base | Part::Below => {}
        }
    }
    if !arguments.is_empty() {
        reasons.push(Reason::Arguments(arguments));
    }
    if !variables.is_empty() {
        reasons.push(Reason::Environment(variables));
    }
    // A change of the mounts themselves is reported instead of their files.
    let has_other_mounts = settings.contains(&Reason::Setting(Setting::Mounts));
    reasons.append(&mut settings);
    if !targets.is_empty() && !has_other_mounts {
        reasons.push(Reason::MountSources(targets));
    }
    reasons
}

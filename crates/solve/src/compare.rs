//! From two looks at a step to the reasons why it runs again.

use std::collections::BTreeSet;

use xbuild_plan::VertexId;

use crate::reason::{Reason, Setting, StepKind};
use crate::seen::{Part, Seen};

/// Returns why a step runs that is `new` and was `old` when it last ran; `kind` is what it does,
/// `by` the step below it that ran for a reason of its own.
///
/// **Shape** — at least one; what the step itself says before what it stands on.
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
        // Folders and owners are looked up below: another selection without another file is a
        // reason only where nothing else is.
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

/// Returns the reasons that are in what the step says and mounts.
fn own(changed: &BTreeSet<Part>, kind: StepKind) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let (mut arguments, mut variables, mut settings) = (Vec::new(), Vec::new(), Vec::new());
    let mut targets = Vec::new();
    for part in changed {
        match part {
            Part::Command => reasons.push(Reason::Command),
            Part::Instruction => reasons.push(Reason::Instruction(kind)),
            Part::Argument(name) => arguments.push(name.clone()),
            // What was set by ARG and is now set by ENV is told once.
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
    // Mounts that come and go are told as such.
    let has_other_mounts = settings.contains(&Reason::Setting(Setting::Mounts));
    reasons.append(&mut settings);
    if !targets.is_empty() && !has_other_mounts {
        reasons.push(Reason::MountSources(targets));
    }
    reasons
}

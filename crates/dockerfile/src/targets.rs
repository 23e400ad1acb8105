//! The stages of a file that can be built.

use crate::instruction::Dockerfile;
use crate::span::Span;

/// A stage, as the target of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name after AS.
    pub name: Option<&'a str>,
    /// The text behind the name in a comment above FROM.
    pub description: Option<&'a str>,
    /// The image or stage, as written.
    pub base: &'a str,
    /// The value of `--platform`, as written.
    pub platform: Option<&'a str>,
    /// Whether a build without a target ends with it.
    pub is_default: bool,
    /// The lines of FROM.
    pub span: &'a Span,
}

/// Returns the stages, in the order of the file.
///
/// ```
/// let text = b"# base has the tools\nFROM alpine AS base\nFROM base\n";
/// let file = xbuild_dockerfile::parse("Dockerfile", text)?;
/// let targets = xbuild_dockerfile::targets(&file);
/// assert_eq!(targets[0].description, Some("has the tools"));
/// assert_eq!((targets[1].name, targets[1].is_default), (None, true));
/// # Ok::<(), xbuild_dockerfile::ParseErrors>(())
/// ```
pub fn targets(file: &Dockerfile) -> Vec<Target<'_>> {
    let last = file.stages.len().saturating_sub(1);
    let stages = file.stages.iter().enumerate();
    stages
        .map(|(index, stage)| {
            let from = &stage.from;
            let above = file.comment_above(*from.span.lines.start());
            let name = from.name.as_deref();
            Target {
                name,
                description: name.and_then(|name| above?.about(name)),
                base: &from.image,
                platform: from.platform.as_deref(),
                is_default: index == last,
                span: &from.span,
            }
        })
        .collect()
}

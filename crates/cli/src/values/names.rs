//! Names of images.

use xbuild_build::request::PlatformTag;
use xbuild_model::{Platform, Reference, ReferenceError};

use super::template::Template;
use crate::report::Problem;

/// Reads the names of an image.
pub(crate) fn references(names: &[String]) -> Result<Vec<Reference>, Problem> {
    let parse = |name: &String| {
        name.parse().map_err(|error: ReferenceError| Problem::command_line(error.to_string()))
    };
    names.iter().map(parse).collect()
}

/// Reads values of `--tag`: names of the whole image, and of single platforms where braces stand for
/// the platform.
pub(crate) fn tags(
    texts: &[String],
    platforms: &[Platform],
) -> Result<(Vec<Reference>, Vec<PlatformTag>), Problem> {
    let (mut whole, mut single) = (Vec::new(), Vec::new());
    for text in texts {
        let fail =
            |reason: String| Problem::command_line(format!("invalid --tag {text}: {reason}"));
        let Some(template) = Template::parse(text).map_err(fail)? else {
            whole.push(text.clone());
            continue;
        };
        for platform in platforms {
            let name = template.expand(platform);
            let name = name.parse().map_err(|error: ReferenceError| fail(error.to_string()))?;
            let tag = PlatformTag { platform: platform.clone(), name };
            if !single.contains(&tag) {
                single.push(tag);
            }
        }
    }
    Ok((references(&whole)?, single))
}

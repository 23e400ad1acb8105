//! Names of images.

use xbuild_model::{Reference, ReferenceError};

use crate::report::Problem;

/// Reads the names of an image.
pub(crate) fn references(names: &[String]) -> Result<Vec<Reference>, Problem> {
    let parse = |name: &String| {
        name.parse().map_err(|error: ReferenceError| Problem::command_line(error.to_string()))
    };
    names.iter().map(parse).collect()
}

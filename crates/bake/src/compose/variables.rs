//! The files that set variables.

use std::collections::BTreeMap;

use super::dotenv;
use super::lookup::{Lookup, Unset};
use crate::error::BakeError;
use crate::given::Given;
use crate::place::Place;

/// Returns the text of a file, or `None` if there is none; the error says why it cannot be read.
pub(crate) type Files<'a> = dyn Fn(&str) -> Result<Option<String>, String> + 'a;

/// A file of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableFile {
    /// Its path.
    pub path: String,
    /// Whether it must be there.
    pub is_required: bool,
}

/// Reads the variables of the files, later files over earlier ones. A file sees the variables of
/// `lookup`, and those of earlier files below them.
///
/// **Errors** — a file that is required and is not there, or a line that is none.
pub(crate) fn read(
    list: &[VariableFile],
    files: &Files<'_>,
    lookup: &Lookup<'_>,
    unset: &Unset,
) -> Result<BTreeMap<String, String>, BakeError> {
    let mut variables = BTreeMap::new();
    for VariableFile { path, is_required } in list {
        let fail = |reason| BakeError::File { name: path.clone(), reason };
        let text = match files(path).map_err(fail)? {
            Some(text) => text,
            None if *is_required => return Err(fail("there is no such file".to_owned())),
            None => continue,
        };
        let see = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
        let file = std::sync::Arc::from(path.as_str());
        let note = |line, name: &str| unset.note(name, &Place::new(&file, line));
        let more = dotenv::parse(&text, &see, &note).map_err(fail)?;
        variables.extend(more);
    }
    Ok(variables)
}

/// Reads files of variables for a project, as [`crate::Setting`] takes them, and adds what they set below
/// what `variables` has. Returns warnings.
///
/// **Errors** — a file that is required and is not there, or a line that is none.
pub fn add_variables(
    variables: &mut BTreeMap<String, String>,
    list: &[VariableFile],
    given: &Given<'_>,
) -> Result<Vec<String>, BakeError> {
    let unset = Unset::default();
    let lookup = |name: &str| given.variable(name).or_else(|| variables.get(name).cloned());
    let more = read(list, given.files, &lookup, &unset)?;
    for (name, value) in more {
        variables.entry(name).or_insert(value);
    }
    Ok(unset.warnings())
}

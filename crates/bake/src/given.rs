//! What a definition is given from outside of its files.

use std::collections::BTreeMap;

pub use crate::scope::World;

/// What a definition is given from outside of its files.
pub struct Given<'a> {
    /// Values of variables from the command line.
    pub variables: BTreeMap<String, String>,
    /// Returns an environment variable, unless variables are not to come from there.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Returns the text of a file that another one names, or `None` if there is none; the error says why
    /// it cannot be read.
    pub files: &'a dyn Fn(&str) -> Result<Option<String>, String>,
    /// Variables that every definition has: `BAKE_LOCAL_PLATFORM` and the like.
    pub built_in: BTreeMap<String, String>,
    /// What functions see of the world.
    pub world: World,
}

impl std::fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Given");
        debug.field("variables", &self.variables).field("built_in", &self.built_in);
        debug.finish_non_exhaustive()
    }
}

impl Given<'_> {
    /// Returns the value of a variable from the command line, else from the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned().or_else(|| (self.environment)(name))
    }
}

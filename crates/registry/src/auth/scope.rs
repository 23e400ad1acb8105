//! Scopes: the repositories and actions that a request needs.
//!
//! **Source** — distribution, token scope documentation.

use std::fmt;

/// The repository and the actions of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) repository: String,
    pub(crate) push: bool,
    pub(crate) delete: bool,
    /// A second repository, which is read: the source of a mount.
    pub(crate) source: Option<String>,
}

impl Scope {
    pub(crate) fn pull(repository: &str) -> Self {
        Self { repository: repository.to_owned(), push: false, delete: false, source: None }
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self { repository: repository.to_owned(), push: true, delete: false, source: None }
    }

    pub(crate) fn delete(repository: &str) -> Self {
        Self { delete: true, ..Self::push(repository) }
    }

    pub(crate) fn mount(repository: &str, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..Self::push(repository) }
    }

    /// Returns the scope of a request that is about no repository, only about who asks.
    pub(crate) fn login() -> Self {
        Self::push("")
    }

    fn parameters(&self) -> Vec<String> {
        if self.repository.is_empty() {
            return Vec::new();
        }
        let actions = match (self.push, self.delete) {
            (_, true) => "pull,push,delete",
            (true, false) => "pull,push",
            (false, false) => "pull",
        };
        let own = format!("repository:{}:{actions}", self.repository);
        let source = self.source.iter().map(|name| format!("repository:{name}:pull"));
        [own].into_iter().chain(source).collect()
    }

    /// Returns the scopes to ask a token server for: those of the request, and those that the
    /// registry's challenge names, which may be other names of the same repositories.
    pub(crate) fn joined(&self, challenge: &[String]) -> Vec<String> {
        let mut all = self.parameters();
        for scope in challenge {
            // The last colon: a repository may have a port before it.
            let resource =
                |scope: &str| scope.rsplit_once(':').map(|(resource, _)| resource.to_owned());
            let same = |own: &String| {
                *own == *scope || {
                    let own = resource(own);
                    own.is_some() && own == resource(scope)
                }
            };
            match all.iter().position(same) {
                Some(at) if all[at] == *scope => {}
                Some(at) => add_actions(&mut all[at], scope),
                None => all.push(scope.clone()),
            }
        }
        all
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.repository.is_empty() {
            true => f.write_str("a login"),
            false => f.write_str(&self.parameters().join(" ")),
        }
    }
}

/// Adds the actions of a scope to another one of the same resource.
fn add_actions(own: &mut String, scope: &str) {
    let actions = scope.rsplit_once(':').map_or("", |(_, actions)| actions);
    for action in actions.split(',').filter(|action| !action.is_empty()) {
        let has = own.rsplit_once(':').is_some_and(|(_, own)| own.split(',').any(|a| a == action));
        if !has {
            own.push(',');
            own.push_str(action);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_add_to_what_is_needed() {
        for (scope, challenge, expected) in [
            (Scope::pull("a"), "", "repository:a:pull"),
            (Scope::pull("a"), "repository:a:pull", "repository:a:pull"),
            (Scope::push("a"), "repository:a:pull", "repository:a:pull,push"),
            (Scope::pull("a"), "repository:a:pull,push,delete", "repository:a:pull,push,delete"),
            (Scope::pull("a"), "repository:b/a:pull", "repository:a:pull repository:b/a:pull"),
            (Scope::delete("a"), "", "repository:a:pull,push,delete"),
            (Scope::pull("a"), "aws", "repository:a:pull aws"),
            (Scope::pull("a"), "aws aws", "repository:a:pull aws"),
            (
                Scope::mount("a", "b"),
                "repository:b:pull registry:catalog:*",
                "repository:a:pull,push repository:b:pull registry:catalog:*",
            ),
        ] {
            let challenge: Vec<String> = challenge.split_whitespace().map(str::to_owned).collect();
            assert_eq!(scope.joined(&challenge).join(" "), expected, "{challenge:?}");
        }
    }
}

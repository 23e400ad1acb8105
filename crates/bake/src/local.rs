//! Paths of this machine, apart from other places.

/// Returns whether a context is a path of this machine, and not a URL, an image or a service.
pub fn is_local(path: &str) -> bool {
    let scheme = path.find("://").is_some_and(|at| at > 0 && !path[..at].contains('/'));
    let special = ["service:", "target:", "docker-image:", "git@"];
    !scheme && !special.iter().any(|prefix| path.starts_with(prefix)) && !is_repository(path)
}

/// Returns whether a path is the short form of a repository, such as `github.com/owner/name`.
fn is_repository(path: &str) -> bool {
    path.starts_with("github.com/")
        || path.split('#').next().is_some_and(|p| p.ends_with(".git") && p.contains(':'))
}

//! A page of the tags of a repository.

use crate::quirks::Rules;
use crate::wire::{Request, Response};

/// Returns the page that a request asks for. `names` are tags, sorted, and digests, which are left out.
pub(crate) fn page<'n>(
    names: impl Iterator<Item = &'n String>,
    rules: &Rules,
    request: &Request,
    repository: &str,
) -> Response {
    let after = request.query("last").unwrap_or_default();
    let mut names = names.filter(|name| !name.contains(':') && ***name > *after);
    let page = if rules.tags_per_page == 0 { usize::MAX } else { rules.tags_per_page };
    let tags: Vec<&String> = names.by_ref().take(page).collect();
    let body = serde_json::json!({"name": repository, "tags": &tags}).to_string();
    let answer = Response::new(200).body(body);
    match (names.next(), tags.last()) {
        (Some(_), Some(last)) => {
            let next = format!("</v2/{repository}/tags/list?last={last}>");
            answer.with("link", format!(r#"{next}; rel="next""#))
        }
        _ => answer,
    }
}

//! The history of an image in words.
//!
//! The forms are those that `docker history` has long shown, so that programs that read them go on
//! working: values are expanded, a RUN has its ARGs and shell in front, and `# buildkit` follows an
//! instruction that makes a layer. Only HEALTHCHECK is shown as written. Flags that do not change
//! the result (`--from`, `--link`) are left out.

use xbuild_model::file_op::CopyRequest;

use crate::graph::{PlannedHistory, VertexId};

/// The comment of each history entry that a build adds. It says which program wrote the entry, and
/// in which form.
pub const HISTORY_COMMENT: &str = "xbuild.dockerfile.v0";

/// Returns the entry of an instruction that changes only the configuration.
pub(crate) fn empty(created_by: String) -> PlannedHistory {
    PlannedHistory { created_by, comment: HISTORY_COMMENT.to_owned(), vertex: None }
}

/// Returns the entry of an instruction that became a vertex.
pub(crate) fn of_vertex(created_by: String, vertex: VertexId) -> PlannedHistory {
    PlannedHistory { vertex: Some(vertex), ..empty(created_by) }
}

/// Returns `KEYWORD ["a" "b"]`, each text quoted.
pub(crate) fn quoted(keyword: &str, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("{keyword} [{}]", words.join(" "))
}

/// Returns `KEYWORD [a b]`.
pub(crate) fn list(keyword: &str, words: &[String]) -> String {
    format!("{keyword} [{}]", words.join(" "))
}

/// Returns `KEYWORD a=b c=d`.
pub(crate) fn pairs(keyword: &str, pairs: &[(String, String)]) -> String {
    let mut text = keyword.to_owned();
    for (name, value) in pairs {
        text.extend([" ", name, "=", value]);
    }
    text
}

/// Returns `RUN |1 ARG=value /bin/sh -c make # buildkit`.
pub(crate) fn run(arguments: &[(String, String)], argv: &[String]) -> String {
    let mut text = "RUN ".to_owned();
    if !arguments.is_empty() {
        text.push_str(&pairs(&format!("|{}", arguments.len()), arguments));
        text.push(' ');
    }
    format!("{text}{} # buildkit", argv.join(" "))
}

/// Returns `COPY --chown=a:b from to # buildkit`. `sources` (without inline files) and `dest` are
/// as written after expansion.
pub(crate) fn copy(keyword: &str, request: &CopyRequest, sources: &[String], dest: &str) -> String {
    let mut words = vec![keyword.to_owned()];
    words.extend(request.chown.iter().map(|owner| format!("--chown={owner}")));
    words.extend(request.chmod.iter().map(|mode| format!("--chmod={mode}")));
    words.extend(sources.iter().cloned());
    words.extend(request.inline.iter().map(|file| format!("<<{}", file.name)));
    words.push(dest.to_owned());
    words.push("# buildkit".to_owned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_show_their_arguments_first() {
        let words = |list: &[&str]| -> Vec<String> { list.iter().map(|w| (*w).into()).collect() };
        let argv = words(&["/bin/sh", "-c", "make all"]);
        assert_eq!(run(&[], &argv), "RUN /bin/sh -c make all # buildkit");
        let arguments = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())];
        assert_eq!(run(&arguments, &argv), "RUN |2 A=1 B= /bin/sh -c make all # buildkit");
        assert_eq!(quoted("CMD", &words(&["a b", "c\""])), r#"CMD ["a b" "c\""]"#);
        assert_eq!(list("EXPOSE", &words(&["80/tcp", "81/tcp"])), "EXPOSE [80/tcp 81/tcp]");
    }
}

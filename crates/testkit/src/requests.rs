//! Requests of steps, as a Dockerfile writes them.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use xbuild_model::file_op::CopyRequest;

/// Returns the request of `COPY [--flag..] sources.. dest`, or of the same with ADD.
pub fn copy(line: &str) -> CopyRequest {
    let mut words: Vec<&str> = line.split(' ').collect();
    let is_add = words.remove(0) == "ADD";
    let mut request = CopyRequest {
        sources: Vec::new(),
        remotes: Vec::new(),
        inline: Vec::new(),
        dest: words.pop().unwrap().to_owned(),
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: is_add.then_some(true),
    };
    for word in words {
        match word.split_once('=') {
            Some(("--chown", value)) => request.chown = Some(value.to_owned()),
            Some(("--chmod", value)) => request.chmod = Some(value.to_owned()),
            Some(("--exclude", value)) => request.exclude.push(value.to_owned()),
            Some(("--unpack", value)) => request.unpack = Some(value == "true"),
            _ if word == "--link" => request.link = true,
            _ if word == "--parents" => request.parents = true,
            _ => request.sources.push(word.to_owned()),
        }
    }
    request
}

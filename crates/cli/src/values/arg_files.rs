//! `--build-arg-file`: files of build arguments.
//!
//! **Source** — buildah-build(1) § --build-arg-file: a line is `NAME=VALUE`; empty lines and those that
//! begin with `#` do not count.

use std::fs;
use std::path::PathBuf;

use crate::report::Problem;

/// Returns the build arguments of all files in order. As in a `--build-arg`, a line without `=` stands
/// for the environment's variable, if it is set.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<(String, String)>, Problem> {
    let mut list = Vec::new();
    for path in files {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            Problem::input(format!("cannot read --build-arg-file {shown}: {error}"))
        })?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some(("", _)) => {
                    let text = format!("{shown}:{}: expected NAME=VALUE", number + 1);
                    return Err(Problem::input(text));
                }
                Some((name, value)) => list.push((name.to_owned(), value.to_owned())),
                None => list.extend(std::env::var(line).ok().map(|value| (line.to_owned(), value))),
            }
        }
    }
    Ok(list)
}

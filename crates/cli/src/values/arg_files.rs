//! `--build-arg-file`: files of build arguments.
//!
//! **Source** — buildah-build(1) § --build-arg-file: a line is `NAME=VALUE`; empty lines and those that
//! begin with `#` do not count.

use std::fs;
use std::path::PathBuf;

use crate::report::Problem;

/// Returns the lines of all files in order, each as the value of a `--build-arg`.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<String>, Problem> {
    let mut list = Vec::new();
    for path in files {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            Problem::input(format!("cannot read --build-arg-file {shown}: {error}"))
        })?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with('=') {
                let text = format!("{shown}:{}: expected NAME=VALUE", number + 1);
                return Err(Problem::input(text));
            }
            if !line.is_empty() && !line.starts_with('#') {
                list.push(line.to_owned());
            }
        }
    }
    Ok(list)
}

//! Loading an image with the program of podman.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use xbuild_model::{DiffId, Reference};
use xbuild_store::Store;

use super::known::{MAX_IMAGES, layers_of};
use crate::error::LoadError;

/// Writes an archive.
type WriteFn<'a> = dyn Fn(&mut dyn Write) -> io::Result<()> + 'a;

/// Bytes that are kept of what the program says, counted from its end.
const MAX_SAID: usize = 2000;

/// The program.
#[derive(Debug)]
pub(crate) struct Podman {
    program: PathBuf,
    /// For what the program writes.
    store: Arc<Store>,
}

impl Podman {
    pub(super) fn new(program: PathBuf, store: Arc<Store>) -> Self {
        Self { program, store }
    }

    /// Loads an archive.
    pub(super) fn load(&self, write: &WriteFn<'_>) -> Result<(), LoadError> {
        self.run("load", &["--quiet"], Some(write)).map(drop)
    }

    /// Returns the layers of the images that it has.
    pub(super) fn images(&self) -> Result<Vec<Vec<DiffId>>, LoadError> {
        let ids = self.run("images", &["--all", "--quiet", "--no-trunc"], None)?;
        let ids: Vec<&str> = ids.split_whitespace().take(MAX_IMAGES).collect();
        match ids.is_empty() {
            true => Ok(Vec::new()),
            false => self.inspect(&ids),
        }
    }

    /// Returns the layers of an image; none if it is not there.
    pub(super) fn image(&self, name: &str) -> Result<Vec<DiffId>, LoadError> {
        // It takes `sha256:HEX` for a name with a tag.
        let name = name.strip_prefix("sha256:").unwrap_or(name);
        Ok(self.inspect(&[name])?.into_iter().next().unwrap_or_default())
    }

    /// Gives an image more names.
    pub(super) fn tag(&self, image: &str, names: &[Reference]) -> Result<(), LoadError> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let args = std::iter::once(image).chain(names.iter().map(String::as_str));
        self.run("tag", &args.collect::<Vec<_>>(), None).map(drop)
    }

    fn inspect(&self, names: &[&str]) -> Result<Vec<Vec<DiffId>>, LoadError> {
        let args: Vec<&str> = ["inspect"].iter().chain(names).copied().collect();
        let text = self.run("image", &args, None)?;
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(list.as_array().into_iter().flatten().map(layers_of).collect())
    }

    /// Runs a subcommand, which reads what `write` writes, and returns its output.
    fn run(
        &self,
        action: &'static str,
        args: &[&str],
        write: Option<&WriteFn<'_>>,
    ) -> Result<String, LoadError> {
        let failed = |source| LoadError::Run { action, source };
        let file = || self.store.temp_file().map_err(|error| failed(io::Error::other(error)));
        let (mut output, mut said) = (file()?, file()?);
        let input = if write.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = Command::new(&self.program)
            .arg(action)
            .args(args)
            .stdin(input)
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(said.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let mut written = Ok(());
        if let (Some(write), Some(input)) = (write, child.stdin.take()) {
            let mut input = BufWriter::new(input);
            written = write(&mut input).and_then(|()| input.flush());
            if written.is_err() {
                // It must not take half of an archive for a whole one.
                let _ = child.kill();
            }
        }
        let status = child.wait().map_err(failed)?;
        match written {
            // The program has ended, and says why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
        if !status.success() {
            let said = text(&mut said).map_err(failed)?;
            let start = said.len().saturating_sub(MAX_SAID);
            let start = (start..said.len()).find(|at| said.is_char_boundary(*at));
            let said = said[start.unwrap_or(0)..].trim().replace('\n', "; ");
            let said = if said.is_empty() { status.to_string() } else { said };
            return Err(LoadError::Podman { action, said });
        }
        text(&mut output).map_err(failed)
    }
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

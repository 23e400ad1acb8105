//! Bake files of a repository or of a web server: `xbuild bake URL [TARGET..]`.
//!
//! The contexts of targets are then folders of the repository. What begins with `cwd://` is a folder of
//! this machine, and so are all contexts of a single file, which has no folders beside it.
//!
//! **Source** — Docker documents § Remote Bake file definition; buildx `bake/remote.go`.

use std::path::Path;
use std::sync::Arc;

use xbuild_bake::{DEFAULT_FILES, File, Secret, Selection, is_local_path};
use xbuild_build::request::{SecretPlace, SecretSource};
use xbuild_build::{Events, Machine, RemoteDefinition};
use xbuild_model::remote::{Asker, RemoteSource, without_user};
use xbuild_wording::hints;

use crate::console::Console;
use crate::environment;
use crate::report::Problem;

/// The secret for the server, and the variable that has it.
const SECRETS: [(&str, &str); 2] = [
    ("GIT_AUTH_TOKEN", "BUILDX_BAKE_GIT_AUTH_TOKEN"),
    ("GIT_AUTH_HEADER", "BUILDX_BAKE_GIT_AUTH_HEADER"),
];

/// A remote definition, fetched.
pub(super) struct Remote {
    url: String,
    source: RemoteSource,
    files: RemoteDefinition,
    secrets: Vec<SecretSource>,
}

/// Returns whether an argument is a remote definition instead of a target.
pub(super) fn is_one(argument: &str) -> bool {
    argument.contains("://") || !is_local_path(argument) && !argument.starts_with("target:")
}

impl Remote {
    /// Fetches the definition at a URL.
    pub(super) fn fetch(
        url: &str,
        machine: &Machine,
        console: &Arc<Console>,
    ) -> Result<Self, Problem> {
        let source = RemoteSource::parse(url, Asker::Context);
        let source = source.map_err(|error| Problem::command_line(error.to_string()))?;
        let source = source.ok_or_else(|| {
            Problem::command_line(format!("{}: no definition is there", without_user(url)))
        })?;
        let given = SECRETS.iter().filter(|(_, name)| environment::variable(name).is_some());
        let secrets: Vec<SecretSource> = given
            .map(|(id, variable)| SecretSource {
                id: (*id).to_owned(),
                place: SecretPlace::Variable((*variable).to_owned()),
            })
            .collect();
        let mut machine = machine.clone();
        machine.secret_variables = environment::secret_variables(&secrets);
        if let Some(socket) = environment::variable("BUILDX_BAKE_GIT_SSH") {
            machine.git_environment.retain(|(name, _)| name != "SSH_AUTH_SOCK");
            machine.git_environment.push(("SSH_AUTH_SOCK".to_owned(), socket));
        }
        let events = Arc::clone(console) as Arc<dyn Events>;
        let files = RemoteDefinition::fetch(&source, &machine, &secrets, &events)?;
        Ok(Self { url: url.to_owned(), source, files, secrets })
    }

    /// Reads the bake files of these names; none stands for the usual ones.
    pub(super) fn bake_files(&self, names: &[&Path]) -> Result<Vec<File>, Problem> {
        if let Some(text) = self.files.single() {
            return Ok(vec![File { name: without_user(&self.url), text: self.text("", text)? }]);
        }
        let usual = DEFAULT_FILES.iter().map(Path::new).collect::<Vec<_>>();
        let wanted = if names.is_empty() { &usual[..] } else { names };
        let mut files = Vec::new();
        for name in wanted {
            match self.files.read(name)? {
                Some(bytes) => {
                    let name = name.display().to_string();
                    files.push(File { text: self.text(&name, &bytes)?, name });
                }
                None if names.is_empty() => {}
                None => {
                    let url = without_user(&self.url);
                    return Err(Problem::input(format!("{} is not in {url}", name.display())));
                }
            }
        }
        match files.is_empty() {
            true => {
                let (url, names) = (without_user(&self.url), DEFAULT_FILES.join(", "));
                Err(Problem::input(format!("no bake file in {url}: none of {names} is there")))
            }
            false => Ok(files),
        }
    }

    /// Reads a file that a bake file names and that need not be there.
    pub(super) fn optional(&self, name: &str) -> Result<Option<String>, String> {
        if self.files.single().is_some() {
            return Ok(None);
        }
        let read = self.files.read(Path::new(name)).map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| format!("{name} of the definition is not text"))
        };
        read.map(text).transpose()
    }

    /// Gives the main context of each target its address, as `--print` shows it.
    pub(super) fn place_contexts(&self, selection: &mut Selection) {
        if self.files.single().is_some() {
            return;
        }
        for target in selection.targets.values_mut() {
            if target.context.as_deref() == Some(".") {
                target.context = Some(self.url.clone());
            }
            for place in target.contexts.values_mut().filter(|place| *place == ".") {
                place.clone_from(&self.url);
            }
        }
    }

    /// Gives all other contexts their addresses, and the targets the secrets for the server.
    pub(super) fn place_folders(&self, selection: &mut Selection) -> Result<(), Problem> {
        if self.files.single().is_some() {
            return Ok(());
        }
        for (name, target) in &mut selection.targets {
            let all = target.context.iter_mut().chain(target.contexts.values_mut());
            for place in all.filter(|place| is_folder(place)) {
                let found = self.folder(place);
                *place = found.map_err(|problem| problem.of_target(name))?;
            }
            for source in &self.secrets {
                let SecretPlace::Variable(env) = &source.place else { continue };
                let secret = Secret { id: source.id.clone(), src: String::new(), env: env.clone() };
                let secrets = target.secret.get_or_insert_default();
                if !secrets.iter().any(|known| known.id == secret.id) {
                    secrets.push(secret);
                }
            }
        }
        Ok(())
    }

    /// Returns the address of a folder of the definition.
    fn folder(&self, folder: &str) -> Result<String, Problem> {
        let RemoteSource::Git(git) = &self.source else {
            let url = without_user(&self.url);
            let message = format!("the context {folder} is a folder of the archive {url}");
            return Err(Problem::input(message + ", which is not implemented")
                .with_hint(hints::repository_or_archive()));
        };
        let (address, fragment) = self.url.split_once('#').unwrap_or((&self.url, ""));
        if address.contains("subdir=") {
            let message = format!("the context {folder} is below the subdir of the address");
            return Err(Problem::input(message + ", which is not implemented")
                .with_hint(hints::folder_behind_reference()));
        }
        let reference = fragment.split(':').next().unwrap_or_default();
        let above = git.subdir.as_ref().map_or_else(String::new, |above| format!("{above}/"));
        let folder = folder.trim_start_matches("./").trim_start_matches('/');
        Ok(format!("{address}#{reference}:{above}{folder}"))
    }

    fn text(&self, name: &str, bytes: &[u8]) -> Result<String, Problem> {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            let url = without_user(&self.url);
            Problem::input(format!("the bake file {name} of {url} is not text"))
        })
    }
}

/// Returns whether a context is a folder of the definition.
fn is_folder(place: &str) -> bool {
    is_local_path(place) && !place.starts_with("oci-layout://")
}

//! Fetchers and repositories for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use xbuild_model::remote::{GitSource, RemoteSource};
use xbuild_registry::{Client, ClientOptions};
use xbuild_source::{FetchOptions, Fetcher};
use xbuild_store::Store;

/// A folder with a store and repositories, removed when dropped.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub store: Arc<Store>,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("store")).unwrap());
        Self { dir, store }
    }

    /// A fetcher as each build has its own.
    pub fn fetcher(&self) -> Fetcher {
        self.fetcher_with(FetchOptions { allow_files: true, ..options() })
    }

    pub fn fetcher_with(&self, options: FetchOptions) -> Fetcher {
        let client = Client::new(ClientOptions::default());
        Fetcher::new(Arc::clone(&self.store), client, options)
    }

    /// Returns the names of what is in a folder of the store.
    pub fn stored(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.store.root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Makes an empty repository.
    pub fn repository(&self, name: &str) -> Repository {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        let repository = Repository { path };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }
}

pub fn options() -> FetchOptions {
    FetchOptions { search_path: std::env::var_os("PATH").unwrap(), ..FetchOptions::default() }
}

/// A repository on this machine.
pub struct Repository {
    pub path: PathBuf,
}

impl Repository {
    /// Runs git in the repository and returns what it wrote.
    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "somebody")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "a@b.example")))
            .envs(
                ["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_DATE"), "1000000000 +0000")),
            )
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file, commits all that is there and returns the commit.
    pub fn commit(&self, name: &str, text: &str) -> String {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn source(&self) -> GitSource {
        GitSource {
            remote: format!("file://{}", self.path.display()),
            user: None,
            reference: None,
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            submodules: None,
        }
    }

    pub fn at(&self, reference: &str) -> RemoteSource {
        RemoteSource::Git(GitSource { reference: Some(reference.to_owned()), ..self.source() })
    }
}

/// Returns the files below a folder, with their contents.
pub fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

//! Commits of repositories.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::Arc;
use std::time::{Duration, Instant};

use xbuild_model::remote::{GitSource, RemoteSource};
use xbuild_source::{FetchError, FetchOptions, FetchWarning};

use crate::fixture::{Place, Repository, files, options};

fn fetch(place: &Place, source: GitSource) -> Result<Vec<(String, String)>, FetchError> {
    Ok(files(&place.fetcher().folder(&RemoteSource::Git(source))?))
}

fn text(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_reference_is_a_branch_a_tag_or_a_commit() {
    let place = Place::new();
    let repository = place.repository("r");
    let first = repository.commit("f", "one");
    repository.git(&["tag", "--annotate", "--message", "m", "v1"]);
    repository.commit("f", "two");
    repository.git(&["branch", "side/branch"]);
    repository.commit("f", "three");
    for (reference, expected) in [
        (None, "three"),
        (Some("main"), "three"),
        (Some("side/branch"), "two"),
        (Some("refs/heads/side/branch"), "two"),
        (Some("v1"), "one"),
        (Some("refs/tags/v1"), "one"),
        (Some(first.as_str()), "one"),
    ] {
        let reference = reference.map(str::to_owned);
        let source = GitSource { reference: reference.clone(), ..repository.source() };
        assert_eq!(fetch(&place, source).unwrap(), text(&[("f", expected)]), "{reference:?}");
    }
    for missing in ["none", "branch", &first[..10], &"0".repeat(40)] {
        let source = GitSource { reference: Some(missing.to_owned()), ..repository.source() };
        let error = fetch(&place, source).unwrap_err();
        assert!(matches!(error, FetchError::NoReference { .. }), "{missing}: {error}");
    }
    // A commit that was fetched is there without the repository.
    fs::remove_dir_all(&repository.path).unwrap();
    let folder = place.fetcher().folder(&repository.at(&first)).unwrap();
    let meta = fs::metadata(folder.join("f")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o644, 1_000_000_000));
}

#[test]
fn a_checksum_is_the_beginning_of_the_commit() {
    let place = Place::new();
    let repository = place.repository("r");
    let commit = repository.commit("f", "one");
    let with = |checksum: &str| repository.source().with_checksum(checksum).unwrap();
    assert!(fetch(&place, with(&commit)).is_ok());
    assert!(fetch(&place, with(&commit[..7])).is_ok());
    let error = fetch(&place, with("ffffffffffffffff")).unwrap_err();
    assert!(matches!(error, FetchError::Commit { .. }), "{error}");
}

#[test]
fn a_branch_comes_before_a_tag_of_its_name() {
    let place = Place::new();
    let repository = place.repository("r");
    repository.commit("f", "tag");
    repository.git(&["tag", "same"]);
    repository.git(&["checkout", "--quiet", "-b", "same"]);
    repository.commit("f", "branch");
    for (reference, expected) in
        [("same", "branch"), ("refs/tags/same", "tag"), ("refs/heads/same", "branch")]
    {
        let source = GitSource { reference: Some(reference.to_owned()), ..repository.source() };
        assert_eq!(fetch(&place, source).unwrap(), text(&[("f", expected)]), "{reference}");
    }
}

#[test]
fn an_annotated_tag_has_two_ids() {
    let place = Place::new();
    let repository = place.repository("r");
    let commit = repository.commit("f", "one");
    repository.git(&["tag", "--annotate", "--message", "m", "v1"]);
    let tag = repository.git(&["rev-parse", "v1"]);
    repository.commit("f", "two");
    assert_ne!(tag, commit);
    let one = text(&[("f", "one")]);
    for reference in ["v1", &tag, &commit] {
        let source = GitSource { reference: Some(reference.to_owned()), ..repository.source() };
        assert_eq!(fetch(&place, source.clone()).unwrap(), one, "{reference}");
        for checksum in [&*commit, &commit[..12]] {
            let source = source.clone().with_checksum(checksum).unwrap();
            assert_eq!(fetch(&place, source).unwrap(), one, "{reference} {checksum}");
        }
        let with_tag = source.clone().with_checksum(&tag).unwrap();
        match reference == commit {
            true => assert!(matches!(fetch(&place, with_tag), Err(FetchError::Commit { .. }))),
            false => assert_eq!(fetch(&place, with_tag).unwrap(), one, "{reference}"),
        }
        let other = source.with_checksum(&"f".repeat(40)).unwrap();
        let error = fetch(&place, other).unwrap_err();
        assert!(matches!(error, FetchError::Commit { .. }), "{reference}: {error}");
    }
}

#[test]
fn a_folder_is_a_real_one() {
    let place = Place::new();
    let repository = place.repository("r");
    symlink("/", repository.path.join("root")).unwrap();
    symlink("a", repository.path.join("link")).unwrap();
    repository.commit("a/b/f", "inner");
    let at = |path: &str| GitSource { subdir: Some(path.to_owned()), ..repository.source() };
    assert_eq!(fetch(&place, at("a/b")).unwrap(), text(&[("f", "inner")]));
    for bad in ["root/etc", "root", "link/b", "a/b/f", "none", ".."] {
        let error = fetch(&place, at(bad)).unwrap_err();
        assert!(matches!(error, FetchError::NoFolder { .. }), "{bad}: {error}");
    }
}

#[test]
fn the_repository_itself_is_kept_if_asked() {
    let place = Place::new();
    let repository = place.repository("r");
    let first = repository.commit("f", "one");
    let kept = GitSource { keep_git_dir: Some(true), ..repository.source() };
    let folder = place.fetcher().folder(&RemoteSource::Git(kept)).unwrap();
    let copy = Repository { path: folder };
    assert_eq!(copy.git(&["-c", "safe.directory=*", "status", "--porcelain"]), "");
    assert_eq!(copy.git(&["config", "remote.origin.url"]), repository.source().remote);
    assert!(!copy.path.join(".git/hooks").exists());
    assert_eq!(copy.git(&["-c", "safe.directory=*", "show-ref", "--heads", "--hash"]), first);
    repository.git(&["tag", "--annotate", "--message", "m", "v1"]);
    repository.git(&["tag", "light"]);
    repository.commit("f", "two");
    for (reference, describe) in [("v1", "v1"), ("light", "light")] {
        let kept = GitSource {
            keep_git_dir: Some(true),
            reference: Some(reference.to_owned()),
            ..repository.source()
        };
        let copy = Repository { path: place.fetcher().folder(&RemoteSource::Git(kept)).unwrap() };
        let described = copy.git(&["-c", "safe.directory=*", "describe", "--tags"]);
        assert_eq!(described, describe);
    }
    assert_eq!(fetch(&place, repository.source()).unwrap(), text(&[("f", "two")]));
}

/// Returns the warnings that come of fetching a source.
fn warnings(place: &Place, source: GitSource) -> Vec<FetchWarning> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let fetcher = place.fetcher_with(FetchOptions {
        allow_files: true,
        on_warning: Some(Arc::new(move |it| sender.lock().unwrap().send(it.clone()).unwrap())),
        ..options()
    });
    fetcher.folder(&RemoteSource::Git(source)).unwrap();
    receiver.try_iter().collect()
}

#[test]
fn submodules_come_if_asked() {
    let place = Place::new();
    let (inner, outer) = (place.repository("inner"), place.repository("outer"));
    inner.commit("i", "inner");
    outer.commit("o", "outer");
    outer.git(&["submodule", "--quiet", "add", "--", &inner.source().remote, "sub"]);
    outer.git(&["commit", "--quiet", "--message", "sub"]);
    let names = |source| -> Vec<String> {
        fetch(&place, source).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    let warned = [FetchWarning::Submodules { remote: outer.source().remote }];
    assert_eq!(warnings(&place, outer.source()), warned);
    // Also where the file is above the folder, and where all of it is in the store already.
    outer.commit("inner/f", "text");
    let inner = GitSource { subdir: Some("inner".to_owned()), ..outer.source() };
    for _ in 0..2 {
        assert_eq!(warnings(&place, inner.clone()), warned);
    }
    outer.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    assert_eq!(names(outer.source()), [".gitmodules", "o"]);
    let with = GitSource { submodules: Some(true), ..outer.source() };
    assert_eq!(names(with.clone()), [".gitmodules", "o", "sub/i"]);
    // A submodule cannot name a repository of this machine.
    let strict = place.fetcher_with(options());
    let error = strict.folder(&RemoteSource::Git(outer.source())).unwrap_err();
    assert!(matches!(error, FetchError::LocalRepository { .. }), "{error}");
}

#[test]
fn nothing_is_executed() {
    let place = Place::new();
    let repository = place.repository("r");
    let marker = place.dir.path().join("marker");
    let script = place.dir.path().join("script");
    fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", marker.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    repository.commit(".gitattributes", "* filter=evil\n");
    repository.commit("f", "one");
    // Hooks and settings of the repository; its attributes ask for a filter.
    for hook in ["post-checkout", "post-update", "pre-receive", "reference-transaction"] {
        let hooks = repository.path.join(".git/hooks");
        fs::create_dir_all(&hooks).unwrap();
        fs::copy(&script, hooks.join(hook)).unwrap();
    }
    let path = script.to_str().unwrap();
    for key in ["filter.evil.smudge", "core.fsmonitor", "core.sshCommand", "core.pager"] {
        let config = repository.path.join(".git/config");
        repository.git(&["config", "--file", config.to_str().unwrap(), key, path]);
    }
    // The environment does not count.
    let environment = [
        ("HOME", place.dir.path().to_str().unwrap()),
        ("GIT_CONFIG_COUNT", "0"),
        ("GIT_EXTERNAL_DIFF", path),
    ];
    let options = FetchOptions {
        environment: environment.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        allow_files: true,
        ..options()
    };
    let config = format!("[filter \"evil\"]\nsmudge = {path}\n[core]\nhooksPath = {path}\n");
    fs::write(place.dir.path().join(".gitconfig"), config).unwrap();
    fs::remove_file(&marker).ok();
    let source = RemoteSource::Git(repository.source());
    let folder = place.fetcher_with(options).folder(&source).unwrap();
    assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "one");
    assert!(!marker.exists());
}

/// Makes a folder for PATH whose `git` runs `script` before git itself, with the arguments of git.
fn git_after(place: &Place, script: &str) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders = std::env::split_paths(&path);
    let git = folders.find(|folder| folder.join("git").is_file()).unwrap().join("git");
    let folder = place.dir.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", git.display());
    fs::write(folder.join("git"), text).unwrap();
    fs::set_permissions(folder.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

/// Row A122 of the threat table: what a server's HEAD stands for is named like an option.
#[test]
fn a_head_that_is_named_like_an_option_is_none() {
    let place = Place::new();
    let marker = place.dir.path().join("marker");
    for name in ["--upload-pack=touch marker", "-x", "--exec=touch", "+x:refs/heads/y", "--all"] {
        let repository = place.repository(&format!("r{}", name.len()));
        let commit = repository.commit("f", "one");
        // git refuses to make such names; a server need not.
        let folder = repository.path.join(".git/refs/heads");
        let file = name.replace("marker", marker.to_str().unwrap()).replace([' ', '/'], "_");
        fs::write(folder.join(&file), format!("{commit}\n")).unwrap();
        fs::write(repository.path.join(".git/HEAD"), format!("ref: refs/heads/{file}\n")).unwrap();
        for keep in [None, Some(true)] {
            let source = GitSource { keep_git_dir: keep, ..repository.source() };
            // Refused, or the commit: nothing else.
            if let Ok(found) = fetch(&place, source) {
                let found: Vec<_> =
                    found.into_iter().filter(|(path, _)| !path.starts_with(".git/")).collect();
                assert_eq!(found, text(&[("f", "one")]), "{name}");
            }
        }
    }
    // The same from a server that says what it likes.
    let server = xbuild_testkit::files::FileServer::start();
    for name in ["--upload-pack=touch", "-oProxyCommand=x", "refs/heads/--all", "ext::sh"] {
        let id = "1".repeat(40);
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        let caps = format!("symref=HEAD:{name} object-format=sha1");
        let body = [
            line("# service=git-upload-pack\n".into()),
            "0000".into(),
            line(format!("{id} HEAD\0{caps}\n")),
            line(format!("{id} {name}\n")),
            "0000".into(),
        ]
        .concat();
        let response = xbuild_testkit::wire::Response::new(200)
            .with("content-type", "application/x-git-upload-pack-advertisement")
            .body(body);
        server.answer("/r.git/info/refs?service=git-upload-pack", [response]);
        let (source, log) = (server.url("/r.git"), place.dir.path().join("log"));
        let script = format!("for a; do echo \"$a\"; done >> {}", log.display());
        let place = Place::new();
        let options = FetchOptions { search_path: git_after(&place, &script), ..options() };
        let source = RemoteSource::parse(&source, xbuild_model::remote::Asker::Add).unwrap();
        assert!(place.fetcher_with(options).folder(&source.unwrap()).is_err(), "{name}");
        let arguments = fs::read_to_string(&log).unwrap();
        assert!(arguments.lines().any(|line| line == "fetch"), "{name}: {arguments}");
        let mut lines = arguments.lines();
        // Behind `--` it is no option.
        while let Some(line) = lines.next() {
            assert!(line != name || !name.starts_with('-'), "{name}: {arguments}");
            if line == "--" {
                lines.by_ref().find(|line| ["ls-remote", "fetch", "init"].contains(line));
            }
        }
        fs::remove_file(&log).unwrap();
    }
    assert!(!marker.exists());
}

/// Row A130 of the threat table: a branch moves while it is fetched.
#[test]
fn a_branch_that_moves_gives_the_commit_that_was_looked_up() {
    for keep in [None, Some(true)] {
        let place = Place::new();
        let repository = place.repository("r");
        let first = repository.commit("f", "one");
        let script = format!(
            "case \" $* \" in *' fetch '*) unset GIT_DIR GIT_WORK_TREE; cd {} && echo two > f \
             && git -c user.name=x -c user.email=x@x.example commit -qam two >&2;; esac",
            repository.path.display()
        );
        let search_path = git_after(
            &place,
            &script.replace("&& git", "&& /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin git"),
        );
        let options = FetchOptions { search_path, allow_files: true, ..options() };
        let reference = Some("main".to_owned());
        let source = GitSource { reference, keep_git_dir: keep, ..repository.source() };
        let folder = place.fetcher_with(options).folder(&RemoteSource::Git(source)).unwrap();
        assert_ne!(repository.git(&["rev-parse", "main"]), first, "it has moved");
        assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "one");
    }
}

#[test]
fn a_missing_program_is_named() {
    let place = Place::new();
    let fetcher = place.fetcher_with(FetchOptions { allow_files: true, ..Default::default() });
    let error = fetcher.folder(&place.repository("r").at("main")).unwrap_err();
    assert!(matches!(error, FetchError::NoGit { .. }), "{error}");
}

#[test]
fn what_a_server_says_is_shown_and_secrets_are_not() {
    let server = xbuild_testkit::files::FileServer::start();
    let place = Place::new();
    let url = server.url("/r.git").replace("//", "//me:SECRET@");
    let source = RemoteSource::parse(&url, xbuild_model::remote::Asker::Add).unwrap().unwrap();
    let error = place.fetcher().folder(&source).unwrap_err().to_string();
    assert!(error.contains("git ls-remote of http://127.0.0.1"), "{error}");
    assert!(error.contains("not found"), "{error}");
    assert!(!error.contains("SECRET"), "{error}");
    assert_eq!(server.log()[0].header("authorization"), Some("Basic bWU6U0VDUkVU"));
}

#[test]
fn a_server_that_knows_nothing_of_git_gives_commits_too() {
    let server = xbuild_testkit::files::FileServer::start();
    let place = Place::new();
    let repository = place.repository("r");
    let first = repository.commit("f", "one");
    repository.commit("f", "two");
    repository.git(&["update-server-info"]);
    let root = repository.path.join(".git");
    let mut todo = vec![root.clone()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let query = if name == "info/refs" { "?service=git-upload-pack" } else { "" };
            server.put(&format!("/r.git/{name}{query}"), "", "", fs::read(&path).unwrap());
        }
    }
    let at = |reference: &str| GitSource {
        remote: server.url("/r.git"),
        reference: Some(reference.to_owned()),
        ..repository.source()
    };
    assert_eq!(fetch(&place, at("main")).unwrap(), text(&[("f", "two")]));
    assert_eq!(fetch(&place, at(&first)).unwrap(), text(&[("f", "one")]));
}

/// Options for remotes of which hardly a byte comes in a second.
fn impatient(search_path: std::ffi::OsString) -> FetchOptions {
    FetchOptions { patience: Some(Duration::from_secs(2)), search_path, ..options() }
}

/// Makes a folder for PATH whose `ssh` runs `script`, where `$last` is the command for the server.
fn ssh_is(place: &Place, script: &str) -> std::ffi::OsString {
    let folder = place.dir.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let text = format!("#!/bin/sh\nfor last; do :; done\n{script}\n");
    fs::write(folder.join("ssh"), text).unwrap();
    fs::set_permissions(folder.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

fn assert_is_given_up(place: &Place, options: FetchOptions, remote: String) {
    let repository = place.repository("r");
    let source = GitSource { remote: remote.clone(), ..repository.source() };
    let error = place.fetcher_with(options).folder(&RemoteSource::Git(source)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, FetchError::Silent { .. }), "{text}");
    assert!(text.contains(&remote) && text.contains("2 s"), "{text}");
}

#[test]
fn a_git_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It takes the connection and keeps it.
    let server = std::thread::spawn(move || listener.accept().unwrap().0);
    let place = Place::new();
    assert_is_given_up(&place, impatient(options().search_path), format!("git://{address}/r"));
    drop(server.join().unwrap());
}

#[test]
fn an_ssh_server_that_says_nothing_is_given_up_with_its_program() {
    let place = Place::new();
    let id = place.dir.path().join("id");
    let path = ssh_is(&place, &format!("echo $$ > {}\nexec sleep 1000", id.display()));
    assert_is_given_up(&place, impatient(path), "ssh://host.example/r".to_owned());
    let id = fs::read_to_string(id).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    // It may be on its way out, or wait for whoever adopted it.
    let is_gone = || state().is_empty() || state().contains(") Z ");
    let patience = Instant::now() + Duration::from_secs(10);
    while !is_gone() {
        assert!(Instant::now() < patience, "{}", state());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_ssh_server_that_is_slow_is_waited_for() {
    let place = Place::new();
    let repository = place.repository("r");
    repository.commit("f", "one");
    let slowly = "for turn in 1 2 3 4; do dd bs=20 count=1 2>/dev/null; sleep 1; done; cat";
    let path = ssh_is(&place, &format!("sh -c \"$last\" | {{ {slowly}; }}"));
    let remote = format!("ssh://host.example{}", repository.path.display());
    let source = RemoteSource::Git(GitSource { remote, ..repository.source() });
    let folder = place.fetcher_with(impatient(path)).folder(&source).unwrap();
    assert_eq!(files(&folder), text(&[("f", "one")]));
}

use super::*;

fn parse(text: &str) -> Result<Option<RemoteSource>, RemoteError> {
    RemoteSource::parse(text, Asker::Add)
}

fn git(text: &str) -> GitSource {
    match parse(text) {
        Ok(Some(RemoteSource::Git(git))) => git,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn tells_urls_repositories_and_paths_apart() {
    for (text, expected) in [
        ("http://x.example/f", "url"),
        ("HTTPS://x.example/f", "url"),
        ("https://x.example/r.git.tar", "url"),
        ("https://x.example/r.git", "git"),
        ("https://x.example/r.git?ref=a", "git"),
        ("https://x.example/r.git#v1:sub", "git"),
        ("ssh://git@x.example/r", "git"),
        ("git://x.example/r", "git"),
        ("git@x.example:o/r", "git"),
        ("github.com/o/r", "path"),
        ("f", "path"),
        ("a@b", "path"),
        ("dir/a@b:c", "path"),
        ("@x:y", "path"),
        ("a:b", "path"),
        ("ext::sh -c x", "path"),
        ("*.git", "path"),
    ] {
        let found = match parse(text).unwrap() {
            None => "path",
            Some(RemoteSource::Http(_)) => "url",
            Some(RemoteSource::Git(_)) => "git",
        };
        assert_eq!(found, expected, "{text}");
    }
    let short = RemoteSource::parse("github.com/o/r#main", Asker::Context).unwrap();
    let Some(RemoteSource::Git(short)) = short else { panic!("{short:?}") };
    assert_eq!(short.remote, "https://github.com/o/r");
    assert_eq!(short.reference.as_deref(), Some("main"));
}

#[test]
fn names_files_after_their_url() {
    for (text, expected) in [
        ("http://x.example/a/b.tar.gz?x=/y#z", "b.tar.gz"),
        ("http://x.example/v2/", "v2"),
        ("http://x.example/", "__unnamed__"),
        ("http://x.example", "__unnamed__"),
        ("http://x.example/a%20b", "a b"),
        ("http://x.example/a%2f..%2fb", "b"),
        ("http://x.example/.", "__unnamed__"),
    ] {
        let Some(RemoteSource::Http(http)) = parse(text).unwrap() else { panic!("{text}") };
        assert_eq!(http.name, expected, "{text}");
    }
    for bad in ["http://x.example/..", "http://x.example/%2e%2e", "http://x.example/%00"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(parse(&format!("http://x.example/{}", "n".repeat(256))).is_err());
}

#[test]
fn reads_fragments_and_queries() {
    let it = git("https://x.example/r.git#v1:/a//b/");
    assert_eq!((it.reference.as_deref(), it.subdir.as_deref()), (Some("v1"), Some("a/b")));
    let it = git("https://x.example/r.git#:sub");
    assert_eq!((it.reference, it.subdir.as_deref()), (None, Some("sub")));
    let it = git("https://x.example/r.git?branch=a/b&subdir=s&keep-git-dir=1&submodules");
    assert_eq!(it.remote, "https://x.example/r.git");
    assert_eq!(it.reference.as_deref(), Some("refs/heads/a/b"));
    assert_eq!((it.keep_git_dir, it.submodules), (Some(true), Some(true)));
    let it = git("git@x.example:o/r.git?tag=v1#refs/tags/v1");
    assert_eq!(
        (it.remote.as_str(), it.reference.as_deref()),
        ("git@x.example:o/r.git", Some("refs/tags/v1"))
    );
    let commit = "0123456789ABCDEF0123456789abcdef01234567";
    let it = git(&format!("https://x.example/r.git?checksum={commit}"));
    assert_eq!(it.reference, Some(commit.to_lowercase()));
    assert!(it.clone().with_checksum("0123456").is_err());
    assert!(it.with_checksum(commit).is_ok());
    for bad in [
        "https://x.example/r.git?ref=a#b",
        "https://x.example/r.git?branch=a&tag=a",
        "https://x.example/r.git?ref=a&ref=b",
        "https://x.example/r.git?ref",
        "https://x.example/r.git?depth=1",
        "https://x.example/r.git?mtime=checkout",
        "https://x.example/r.git?submodules=maybe",
        "https://x.example/r.git?commit=xyz",
        "https://x.example/r.git##ref=a",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn nothing_becomes_an_option_or_leads_out() {
    for bad in [
        "https://x.example/r.git#--upload-pack=touch /tmp/P",
        "https://x.example/r.git#-x",
        "https://x.example/r.git#refs/heads/--x",
        "https://x.example/r.git#a..b",
        "https://x.example/r.git#a b",
        "https://x.example/r.git#main:../x",
        "https://x.example/r.git#main:a/../../x",
        "https://x.example/r.git#main:.git/hooks",
        "https://x.example/a%0ab.git",
        "https://x.example/a\nb.git",
        "ssh://-oProxyCommand=x/r",
        "ssh://-oProxyCommand=x@h.example/r",
        "ssh://h.example:x/r",
        "ssh://u:p@h.example/r",
        "-o@h.example:r",
        "git@-h:r",
        "git@h.example:-r",
        "https://a\\b.example/f",
        "https://a b/f",
        "https:///f",
        "file:///etc/passwd",
        "ftp://x.example/f",
        "ext://sh",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_kept_apart() {
    let it = git("https://me:TOK%45N@x.example:8443/r.git#v1");
    assert_eq!(it.remote, "https://x.example:8443/r.git");
    assert_eq!(it.user.as_ref().map(|user| user.password.as_str()), Some("TOKEN"));
    assert!(!format!("{it:?}").contains("TOK"));
    assert!(!serde_json::to_string(&it).unwrap().contains("TOK"));
    let error = parse("https://me:TOKEN@x.example/r.git?a=b").unwrap_err();
    assert!(!error.to_string().contains("TOKEN"), "{error}");
    // Characters of a password that are not encoded.
    for text in [
        "https://me:TO/KEN@x.example/r",
        "https://me:TO#KEN@h/f",
        "https://me:TO\t/KEN@h/f",
        "https://me:T O/KEN@h/f",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains("TO") && !error.contains("KEN"), "{error}");
    }
    for (text, expected) in [
        ("https://me:TOKEN@x.example/r", "https://x.example/r"),
        ("https://TOKEN@x.example?a@b", "https://x.example?a@b"),
        ("ssh://git@x.example/r", "ssh://git@x.example/r"),
        ("git@x.example:r", "git@x.example:r"),
        ("https://x.example/a@b", "https://x.example/a@b"),
        ("a/b", "a/b"),
    ] {
        assert_eq!(without_user(text), expected);
    }
}

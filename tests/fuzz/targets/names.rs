//! Invariant: reading any text as the name of an image, a platform or a remote source ends in an
//! error, or in a value that
//! - written, reads back the same;
//! - gives no program that is started an option, a control character or a path that leads out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_model::remote::{Asker, GitSource, HttpSource, RemoteSource, without_user};
use xbuild_model::{Platform, Reference};

fn check_git(git: &GitSource) {
    assert!(!git.remote.starts_with('-') && !git.remote.contains(char::is_control));
    assert!(git.remote.contains("://") || git.remote.contains('@'));
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let url = git.remote.split_once("://").filter(|(scheme, _)| is_scheme(scheme));
    if let Some((_, rest)) = url {
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        assert!(!user.contains(':') && !user.starts_with('-') && !host.starts_with('-'));
    }
    for name in git.reference.iter() {
        assert!(!name.is_empty() && !name.starts_with('-'));
        assert!(!name.contains(|c: char| c.is_control() || c == ':' || c == ' '));
    }
    for folder in git.subdir.iter() {
        let is_plain = |part: &str| !matches!(part, "" | "." | ".." | ".git");
        assert!(folder.split('/').all(is_plain) && !folder.contains('\0'));
    }
    for sum in git.checksum.iter() {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!((1..=64).contains(&sum.len()) && sum.chars().all(is_hex));
        assert!(git.clone().with_checksum(sum).is_ok());
    }
    // The address alone is the same repository.
    if url.is_some_and(|(scheme, rest)| scheme.starts_with("http") && !rest.ends_with(".git")) {
        return;
    }
    let address = RemoteSource::parse(&git.remote, Asker::Add);
    let Ok(Some(RemoteSource::Git(again))) = address else { panic!("{git:?}") };
    assert_eq!(again.remote, git.remote);
}

fn check_http(file: &HttpSource) {
    assert!(file.url.starts_with("http://") || file.url.starts_with("https://"));
    assert!(!file.url.contains(|c: char| c.is_control() || c == '#'));
    assert!(!matches!(&*file.name, "" | "." | "..") && file.name.len() <= 255);
    assert!(!file.name.contains(['/', '\0']));
    assert_eq!(without_user(&file.url), file.url);
}

fuzz_target!(|text: &str| {
    for asker in [Asker::Add, Asker::Context] {
        match RemoteSource::parse(text, asker) {
            Ok(Some(RemoteSource::Git(git))) => check_git(&git),
            Ok(Some(RemoteSource::Http(file))) => check_http(&file),
            Ok(None) => {}
            Err(error) => {
                let shown = error.to_string();
                assert!(!shown.contains(char::is_control), "{shown:?}");
            }
        }
    }
    let _ = without_user(text);
    if let Ok(reference) = text.parse::<Reference>() {
        let again = reference.to_string().parse::<Reference>();
        assert_eq!(again.expect("what is written reads back"), reference);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        let again = platform.to_string().parse::<Platform>();
        assert_eq!(again.expect("what is written reads back"), platform);
    }
});

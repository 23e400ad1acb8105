//! Files of web servers.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use xbuild_model::remote::{Asker, RemoteSource};
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_source::FetchError;
use xbuild_testkit::files::FileServer;
use xbuild_testkit::wire::Response;

use crate::fixture::{Place, files};

fn source(url: &str, checksum: Option<Digest>) -> RemoteSource {
    match RemoteSource::parse(url, Asker::Add).unwrap() {
        Some(RemoteSource::Http(mut http)) => {
            http.checksum = checksum;
            RemoteSource::Http(http)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_comes_again_only_if_it_has_changed() {
    let (server, place) = (FileServer::start(), Place::new());
    server.put("/d/f.txt?x=1", "\"1\"", "Sun, 06 Nov 1994 08:49:37 GMT", "one");
    let source = source(&server.url("/d/f.txt?x=1"), None);
    let fetcher = place.fetcher();
    let folder = fetcher.folder(&source).unwrap();
    assert_eq!(files(&folder), [("f.txt".to_owned(), "one".to_owned())]);
    let meta = fs::metadata(folder.join("f.txt")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o600, 784_111_777));
    // The same build does not ask again, the next one does.
    assert_eq!(fetcher.folder(&source).unwrap(), folder);
    assert_eq!(server.log().len(), 1);
    assert_eq!(place.fetcher().folder(&source).unwrap(), folder);
    assert_eq!(server.log()[1].header("if-none-match"), Some("\"1\""));
    server.put("/d/f.txt?x=1", "\"2\"", "", "two");
    let newer = place.fetcher().folder(&source).unwrap();
    assert_eq!(files(&newer), [("f.txt".to_owned(), "two".to_owned())]);
    assert_eq!(fs::metadata(newer.join("f.txt")).unwrap().mtime(), 0);
    // A build that still uses the old one does not lose it.
    assert_eq!(files(&folder), [("f.txt".to_owned(), "one".to_owned())]);
}

#[test]
fn a_file_with_a_checksum_is_asked_for_once() {
    let (server, place) = (FileServer::start(), Place::new());
    server.answer("/f", [Response::new(200).body("text")]);
    let url = server.url("/f");
    let good = source(&url, Some(Digest::of(b"text")));
    let folder = place.fetcher().folder(&good).unwrap();
    assert_eq!(place.fetcher().folder(&good).unwrap(), folder);
    assert_eq!(server.log().len(), 1);
    let bad = source(&url, Some(Digest::of(b"other")));
    let error = place.fetcher().folder(&bad).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
    assert!(error.to_string().starts_with("digest mismatch for http://"), "{error}");
    assert_eq!(StepFailure::from(error).kind(), FailureKind::User);
    assert_eq!(place.stored("sources").len(), 1);
}

#[test]
fn no_message_shows_what_is_secret() {
    let (server, place) = (FileServer::start(), Place::new());
    let url = server.url("/none?signature=SECRET").replace("//", "//me:SECRET@");
    let error = place.fetcher().folder(&source(&url, None)).unwrap_err();
    let causes = [error.to_string(), format!("{:?}", std::error::Error::source(&error))];
    assert!(!causes.concat().contains("SECRET"), "{causes:?}");
    assert_eq!(server.log()[0].header("authorization"), Some("Basic bWU6U0VDUkVU"));
    assert_eq!(StepFailure::from(error).kind(), FailureKind::Remote);
}

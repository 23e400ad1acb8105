//! The fields of spans and events, and secrets that must not be in them.

use xbuild_model::Digest;
use xbuild_model::remote::{Asker, GitSource, RemoteSource, UserInfo};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::spans;
use xbuild_testkit::wire::Response;

use crate::fixture::Place;

#[test]
fn tell_requests_and_no_secret() {
    spans::collect();
    let (server, place) = (FileServer::start(), Place::new());
    server.answer("/f?signature=SECRET", [Response::new(200).body("text")]);
    let url = server.url("/f?signature=SECRET").replace("//", "//me:SECRET@");
    let file = RemoteSource::parse(&url, Asker::Add).unwrap().unwrap();
    place.fetcher().folder(&file).unwrap();
    assert_eq!(server.log()[0].header("authorization"), Some("Basic bWU6U0VDUkVU"));
    let repository = RemoteSource::Git(GitSource {
        remote: server.url("/r.git"),
        user: Some(UserInfo { name: "me".to_owned(), password: "SECRET".to_owned() }),
        ..place.repository("unused").source()
    });
    place.fetcher().folder(&repository).unwrap_err();

    let closed = spans::closed();
    let address = server.url("").replace("http://", "");
    let (host, port) = address.split_once(':').unwrap();
    for expected in [
        format!("blob > request method=GET host={host} port={port} path=/f status=200"),
        format!("blob digest={}", Digest::of(b"text")),
        format!("request method=ls-remote host={address} path=/r.git status=128"),
    ] {
        assert!(closed.iter().any(|line| line.ends_with(&expected)), "{expected}: {closed:#?}");
    }
    for line in closed.iter().chain(&spans::events()) {
        for secret in ["SECRET", "bWU6U0VDUkVU", "Basic "] {
            assert!(!line.contains(secret), "{secret:?} in {line}");
        }
    }
}

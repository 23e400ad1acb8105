//! Files of web servers: conditions, redirects, retries, and credentials.

use xbuild_registry::{DownloadError, DownloadRequest, RequestError};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::wire::Response;

use crate::fixture::client;

fn request(url: &str) -> DownloadRequest<'_> {
    DownloadRequest { url, authorization: None, known: None }
}

#[test]
fn a_known_file_is_not_sent_again() {
    let server = FileServer::start();
    server.put("/f", "\"1\"", "Sun, 06 Nov 1994 08:49:37 GMT", "one");
    let url = server.url("/f");
    let got = client().download(&request(&url), || Ok(Vec::new())).unwrap().unwrap();
    assert_eq!(got.file, b"one");
    assert_eq!(got.validators.modified(), Some(784_111_777));
    let known = DownloadRequest { known: Some(&got.validators), ..request(&url) };
    assert!(client().download(&known, || Ok(Vec::new())).unwrap().is_none());
    server.put("/f", "\"2\"", "", "two");
    let got = client().download(&known, || Ok(Vec::new())).unwrap().unwrap();
    assert_eq!((got.file.as_slice(), got.validators.modified()), (&b"two"[..], None));
    let log = server.log();
    assert_eq!(log[1].header("if-none-match"), Some("\"1\""));
    // A server that compares dates only must not have a say.
    assert_eq!(log[1].header("if-modified-since"), None);
    assert_eq!(log[0].header("accept-encoding"), Some("identity"));
    assert_eq!(log[0].header("authorization"), None);
}

#[test]
fn an_older_file_is_not_taken_for_the_known_one() {
    let server = FileServer::start();
    let (new, old) = ("Mon, 07 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT");
    let file = |date: &str, body: &str| Response::new(200).with("last-modified", date).body(body);
    let url = server.url("/f");
    let get = |known| {
        let request = DownloadRequest { known, ..request(&url) };
        client().download(&request, || Ok(Vec::new())).unwrap()
    };
    server.answer("/f", [file(new, "new")]);
    let known = get(None).unwrap().validators;
    server.answer("/f", [file(old, "old")]);
    let unchanged = || Response::new(304);
    for answer in [unchanged(), unchanged().with("last-modified", old)] {
        server.answer_conditional("/f", answer);
        assert_eq!(get(Some(&known)).unwrap().file, b"old");
        let log = server.log();
        let [.., asked, again] = &log[..] else { panic!("{log:?}") };
        assert_eq!(asked.header("if-modified-since"), Some(new));
        assert_eq!(again.header("if-modified-since"), None);
    }
    server.answer_conditional("/f", unchanged().with("last-modified", new));
    assert!(get(Some(&known)).is_none());
    // A 304 that nobody asked for is an error, and no second request is made for it.
    let before = server.log().len();
    server.answer("/f", [unchanged()]);
    let error = client().download(&request(&url), || Ok(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("304"), "{error}");
    assert_eq!(server.log().len(), before + 1);
}

#[test]
fn a_redirect_to_another_release_asks_for_its_bytes() {
    let server = FileServer::start();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for tag in [None, Some("\"same\"")] {
        let to = |target: &str| Response::new(302).with("location", target);
        for release in ["v1", "v2"] {
            let path = format!("/{release}");
            let file = Response::new(200).with("last-modified", date).body(release);
            let file = tag.iter().fold(file, |file, tag| file.with("etag", *tag));
            server.answer(&path, [file]);
            let unchanged = Response::new(304).with("last-modified", date);
            server.answer_conditional(&path, unchanged);
        }
        let url = server.url("/latest");
        server.answer("/latest", [to("/v2")]);
        let get = |known| {
            let request = DownloadRequest { known, ..request(&url) };
            client().download(&request, || Ok(Vec::new())).unwrap()
        };
        let known = get(None).unwrap().validators;
        assert!(get(Some(&known)).is_none());
        server.answer("/latest", [to("/v1")]);
        assert_eq!(get(Some(&known)).unwrap().file, b"v1");
    }
}

#[test]
fn a_broken_answer_is_asked_for_again_from_its_beginning() {
    let server = FileServer::start();
    let whole = Response::new(200).body("0123456789");
    server.answer("/f", [whole.clone().cut(4), Response::new(503), whole]);
    let mut attempts = 0;
    let got = client().download(&request(&server.url("/f")), || {
        attempts += 1;
        Ok(Vec::new())
    });
    assert_eq!(got.unwrap().unwrap().file, b"0123456789");
    assert_eq!((attempts, server.log().len()), (2, 3));
}

#[test]
fn redirects_are_bounded_and_credentials_stay_home() {
    let (server, other) = (FileServer::start(), FileServer::start());
    let to = |target: String| Response::new(302).with("location", target);
    server.answer("/there", [to(other.url("/f"))]);
    server.answer("/round", [to("/round".to_owned())]);
    server.answer("/file", [to("file:///etc/passwd".to_owned())]);
    server.answer("/cloud", [to("http://169.254.169.254/".to_owned())]);
    other.answer("/f", [Response::new(200).body("there")]);
    let get = |path: &str| {
        let url = server.url(path);
        let request =
            DownloadRequest { authorization: Some("Basic bWU6c2VjcmV0"), ..request(&url) };
        client().download(&request, || Ok(Vec::new()))
    };
    assert_eq!(get("/there").unwrap().unwrap().file, b"there");
    assert_eq!(server.log()[0].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(other.log()[0].header("authorization"), None);
    for path in ["/round", "/file", "/cloud"] {
        match get(path) {
            Err(DownloadError::Request {
                source: RequestError::Target { .. } | RequestError::Reach { .. },
            }) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(server.log().len() < 20);
    match get("/none") {
        Err(DownloadError::Request { source }) => assert_eq!(source.status(), Some(404)),
        other => panic!("{other:?}"),
    }
}

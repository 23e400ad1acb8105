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
    assert_eq!(log[1].header("if-modified-since"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(log[0].header("accept-encoding"), Some("identity"));
    assert_eq!(log[0].header("authorization"), None);
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
            Err(DownloadError::Request { source: RequestError::Target { .. } }) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(server.log().len() < 20);
    match get("/none") {
        Err(DownloadError::Request { source }) => assert_eq!(source.status(), Some(404)),
        other => panic!("{other:?}"),
    }
}

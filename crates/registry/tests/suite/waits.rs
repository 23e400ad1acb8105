//! Servers that ask to be left alone for a while.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xbuild_registry::{Client, ClientOptions, RegistryWarning};
use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{base, client, options, pull};

fn busy(wait: &str) -> Action {
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    Action::Answer(Response::new(429).with("retry-after", wait).body(body))
}

/// A registry whose tokens anybody gets.
fn with_tokens() -> Registry {
    let registry = base();
    registry.require(Login::Token { realm: None, user: None });
    registry
}

#[test]
fn a_long_wait_is_named_and_not_kept() {
    for (wait, said) in [
        ("90", "it asks for a wait of 90 s"),
        ("3600", "it asks for a wait of 60 min"),
        ("21600", "it asks for a wait of 6 h"),
        ("18446744073709551615", "it asks for a wait of"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "it asks for a wait of"),
    ] {
        for (part, registry) in
            [("/manifests/", base()), ("/blobs/", base()), ("/token", with_tokens())]
        {
            registry.fail(Fault::new("GET", part, usize::MAX, busy(wait)));
            let text = pull(&client(), &registry).unwrap_err();
            let whole = text.contains("answered 429: TOOMANYREQUESTS: slow down");
            assert!(whole && text.contains(said), "{part}: {text}");
            assert_eq!(registry.count("GET", part), 1, "{part}: {text}");
        }
    }
}

/// The wait is kept, and said once whoever waits.
#[test]
fn a_wait_of_some_seconds_is_kept_and_said() {
    for (part, registry) in [("/manifests/", base()), ("/token", with_tokens())] {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&warnings);
        let client = Client::new(ClientOptions {
            on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
                all.lock().unwrap().push(warning.to_string());
            })),
            ..options()
        });
        registry.fail(Fault::new("GET", part, 1, busy("4")));
        let start = Instant::now();
        std::thread::scope(|threads| {
            let pulls = [(); 2].map(|()| threads.spawn(|| pull(&client, &registry)));
            for pulled in pulls {
                assert_eq!(pulled.join().unwrap().as_deref(), Ok(&b"layer"[..]), "{part}");
            }
        });
        let took = start.elapsed();
        assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&took), "{took:?}");
        let warnings = warnings.lock().unwrap().clone();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let host = registry.host();
        let said = format!("waiting 4 s before {host} is asked again: ");
        assert!(
            warnings[0].starts_with(&said) && warnings[0].contains("slow down"),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_date_is_waited_for() {
    let registry = base();
    // 2001-09-09 01:46:39 and two seconds later, by the clock of the server.
    let Action::Answer(answer) = busy("Sun, 09 Sep 2001 01:46:41 GMT") else { unreachable!() };
    let answer = answer.with("date", "Sun, 09 Sep 2001 01:46:39 GMT");
    registry.fail(Fault::new("GET", "/manifests/", 1, Action::Answer(answer)));
    let start = Instant::now();
    assert_eq!(pull(&client(), &registry).as_deref(), Ok(&b"layer"[..]));
    assert!(start.elapsed() >= Duration::from_secs(2));
}

//! Mirrors that are not as good as the registry.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xbuild_model::seam::Blobs as _;
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_registry::{
    Client, ClientOptions, HostOptions, Mirror, Push, RegistryWarning, Timeouts,
};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{base, chain, options, platform, pull, read_layer, reference};

/// The warnings of a client.
type Warnings = Arc<Mutex<Vec<String>>>;

/// A client that asks mirrors before a registry.
fn client(
    registry: &Registry,
    mirrors: &[&Registry],
    options: ClientOptions,
) -> (Client, Warnings) {
    client_at(registry, mirrors.iter().map(|mirror| mirror.host()).collect(), options)
}

fn client_at(
    registry: &Registry,
    mirrors: Vec<String>,
    options: ClientOptions,
) -> (Client, Warnings) {
    let warnings = Warnings::default();
    let all = Arc::clone(&warnings);
    let mirrors = mirrors.iter().map(|mirror| Mirror::parse(mirror)).collect();
    let client = Client::new(ClientOptions {
        hosts: [(registry.host(), HostOptions { mirrors, ..HostOptions::default() })].into(),
        on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
            all.lock().unwrap().push(warning.to_string());
        })),
        ..options
    });
    (client, warnings)
}

/// Who compares the bytes says so, and the next place is asked for this blob; for others the mirrors are
/// as good as before.
#[test]
fn wrong_bytes_of_a_mirror_lead_to_the_next_place() {
    let (registry, one, two) = (base(), base(), base());
    for mirror in [&one, &two] {
        mirror.put_blob_as("base", &Digest::of(b"layer"), b"LAYER");
    }
    let (client, warnings) = client(&registry, &[&one, &two], options());
    let image = client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    let blob = &image.layers[0].descriptor;
    for (asked, expected) in [(&one, "LAYER"), (&two, "LAYER"), (&registry, "layer")] {
        let part = format!("/blobs/{}", blob.digest);
        assert_eq!(asked.count("GET", &part), 0);
        assert_eq!(read_layer(&client, &image, 0).unwrap(), expected.as_bytes());
        assert_eq!(asked.count("GET", &part), 1);
        // The registry's own bytes are final.
        assert_eq!(client.distrust(blob), expected == "LAYER");
    }
    let warnings = warnings.lock().unwrap().clone();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains(&one.host()) && warnings[1].contains(&two.host()));
    assert!(warnings[0].contains("other bytes came than those of the blob"), "{warnings:?}");
}

/// To wait for it once is enough.
#[test]
fn a_mirror_that_does_not_answer_is_asked_once() {
    let registry = base();
    let timeouts = Timeouts { head: Duration::from_millis(500), ..options().timeouts };
    for part in ["/manifests/", "/blobs/"] {
        let mirror = base();
        let late = Action::Delay(Duration::from_millis(2000));
        mirror.fail(Fault::new("GET", part, usize::MAX, late));
        let (client, warnings) =
            client(&registry, &[&mirror], ClientOptions { timeouts, ..options() });
        for _ in 0..3 {
            assert_eq!(pull(&client, &registry).as_deref(), Ok(&b"layer"[..]));
        }
        // What comes late is in the log late.
        std::thread::sleep(Duration::from_millis(2000));
        assert_eq!(mirror.count("GET", part), 1, "{part}");
        let warnings = warnings.lock().unwrap().clone();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(&mirror.host()), "{warnings:?}");
        assert!(warnings[0].contains("asked no more"), "{warnings:?}");
    }
    // So is one that cannot be reached.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, warnings) = client_at(&registry, vec![gone.to_string()], options());
    assert_eq!(pull(&client, &registry).as_deref(), Ok(&b"layer"[..]));
    let warnings = warnings.lock().unwrap().clone();
    assert!(warnings.len() == 1 && warnings[0].contains("asked no more"), "{warnings:?}");
}

/// A copy from a source with other bytes: the target has no fault, and gets no blob.
#[test]
fn a_damaged_source_of_a_push_is_asked_again_and_blamed() {
    let layer: &[u8] = b"layer";
    let images = Images::new(&["linux/amd64"], &[layer]);
    for (times, mirrored) in [(1, false), (2, false), (usize::MAX, true)] {
        let (source, mirror, target) = (base(), base(), Registry::start());
        let damaged = if mirrored { &mirror } else { &source };
        let answer = Action::Answer(Response::new(200).body("LAYER"));
        let part = format!("/blobs/{}", Digest::of(layer));
        damaged.fail(Fault::new("GET", &part, times, answer));
        let mirrors = if mirrored { &[&mirror][..] } else { &[] };
        let (client, _) = client(&source, mirrors, options());
        let from = client.resolve(&reference(&source, "base"), &platform("linux/amd64")).unwrap();
        let built = images.on_base(&from, false, &client);
        let targets = [reference(&target, "app:1")];
        let push = Push { targets: &targets, by_digest: false, built: &built, progress: &|_| {} };
        let pushed = client.push(&push);
        if times == 2 {
            let error = pushed.unwrap_err();
            let text = chain(&error);
            let fault =
                format!("other bytes came from {}/base than those of the blob", source.host());
            assert!(text.contains(&fault) && text.contains("cannot read layer"), "{text}");
            assert_eq!(StepFailure::from(error).kind(), FailureKind::Remote);
            assert!(target.manifest("app", "1").is_none());
        } else {
            pushed.unwrap_or_else(|error| panic!("{times}: {}", chain(&error)));
            assert_eq!(target.blob("app", &Digest::of(layer)).unwrap(), layer);
        }
    }
}

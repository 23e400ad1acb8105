//! The number of requests that a cache costs.

use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::wire::Response;

use crate::harness::{Finished, Place, User, needs};

const PLATFORMS: &str = "linux/amd64,linux/arm64";

/// Returns a Dockerfile with twelve steps on `base`, each of which looks at the files below or runs.
fn dockerfile(base: &str) -> String {
    let step = |number: usize| match number % 3 {
        0 => format!("COPY file{number} /d{number}/\n"),
        1 => format!("WORKDIR /w{number}\n"),
        _ => format!("RUN echo {number} > /r{number}\n"),
    };
    format!("FROM {base}\n{}", (0..12).map(step).collect::<String>())
}

struct Setup {
    registry: Registry,
    base: String,
}

impl Setup {
    /// Starts a registry that wants tokens and has a base image for two platforms.
    fn new() -> Self {
        let registry = Registry::start();
        let base = format!("{}/app:base", registry.host());
        let place = Place::new(User::Me);
        let from = place.base("busybox").replace("busybox=oci-layout://", "oci:");
        place.run(["copy", "--platform", PLATFORMS, &from, &format!("docker://{base}")]).ok();
        registry.require(Login::Token { realm: None, user: None });
        Self { registry, base }
    }

    /// Returns a place with the build.
    fn place(&self) -> Place {
        let place = Place::new(User::Me);
        for number in 0..12 {
            place.write(&format!("file{number}"), number.to_string());
        }
        place.write("Dockerfile", dockerfile(&self.base));
        place
    }

    fn cache(&self) -> String {
        format!("type=registry,ref={}/app:cache", self.registry.host())
    }

    /// Builds, and returns the requests that this took but for those that ask who it is.
    fn build(&self, place: &Place, args: &[&str]) -> (Finished, Vec<String>) {
        let before = self.registry.log().len();
        let context = place.context();
        let own = ["build", "--progress", "plain", "--platform", PLATFORMS];
        let all = own.iter().chain(args).copied().chain(context.to_str());
        let finished = place.run(all).ok();
        let log = self.registry.log().split_off(before);
        let is_answered = |request: &&xbuild_testkit::wire::Request| {
            request.target.starts_with("/token") || request.header("authorization").is_some()
        };
        let text = |request: &xbuild_testkit::wire::Request| {
            format!("{} {}", request.method, request.target)
        };
        (finished, log.iter().filter(is_answered).map(text).collect())
    }
}

#[test]
fn a_cached_build_needs_six_requests_and_moves_no_layer() {
    needs!(Run, Emulator);
    let setup = Setup::new();
    let to = format!("{},mode=max", setup.cache());
    let (first, _) = setup.build(&setup.place(), &["--cache-to", &to]);
    assert_eq!(first.steps(), "0 cached, 24 done");

    let place = setup.place();
    let (second, requests) = setup.build(&place, &["--cache-from", &setup.cache()]);
    assert_eq!(second.steps(), "24 cached, 0 done");
    assert!(requests.len() <= 6, "{requests:#?}");

    // Pushed beside the cache, no layer passes through the machine.
    let place = setup.place();
    for name in ["app:1", "elsewhere/app:1"] {
        let name = format!("{}/{name}", setup.registry.host());
        let args = ["--cache-from", &setup.cache(), "-t", &name, "--push"];
        let (pushed, requests) = setup.build(&place, &args);
        assert_eq!(pushed.steps(), "24 cached, 0 done");
        let blobs = |method: &str| {
            let is_blob = |request: &&String| {
                request.starts_with(method) && request.contains("/blobs/sha256:")
            };
            requests.iter().filter(is_blob).count()
        };
        let trails = requests.iter().filter(|request| request.contains("/manifests/t1-")).count();
        assert_eq!(blobs("GET "), trails, "{requests:#?}");
        // What is uploaded is the two configurations.
        let uploads = requests
            .iter()
            .filter(|request| request.starts_with("PUT ") && request.contains("/uploads/"));
        assert_eq!(uploads.count(), 2, "{requests:#?}");
    }
    // And the image can be pulled.
    let name = format!("{}/elsewhere/app:1", setup.registry.host());
    let other = Place::new(User::Me);
    other.write("Dockerfile", format!("FROM {name}\nCOPY --from={name} /r2 /copy\n"));
    setup.build(&other, &[]);
}

#[test]
fn after_a_change_each_step_costs_one_request() {
    needs!(Run, Emulator);
    let setup = Setup::new();
    let to = format!("{},mode=max", setup.cache());
    setup.build(&setup.place(), &["--cache-to", &to]);
    let place = setup.place();
    place.write("file6", "changed");
    let (built, requests) = setup.build(&place, &["--cache-from", &setup.cache()]);
    // Six of twelve steps, for two platforms.
    assert_eq!(built.steps(), "12 cached, 12 done");
    let records = requests.iter().filter(|request| request.contains("/manifests/c1-")).count();
    assert_eq!(records, 12, "{requests:#?}");
    // Another machine has made the change meanwhile, but its trail is not there: one request a step.
    setup.build(&place, &["--cache-to", &to]);
    let gone = Action::Answer(Response::new(404));
    setup.registry.fail(Fault::new("GET", "/manifests/t1-", 2, gone));
    let place = setup.place();
    place.write("file6", "changed");
    let (built, requests) = setup.build(&place, &["--cache-from", &setup.cache()]);
    assert_eq!(built.steps(), "24 cached, 0 done");
    let records = requests.iter().filter(|request| request.contains("/manifests/c1-")).count();
    assert_eq!(records, 24, "{requests:#?}");
    let layers = requests.iter().filter(|r| r.starts_with("GET") && r.contains("/blobs/")).count();
    assert!(layers > 0, "tree indexes come from the records");
}

#[test]
fn two_processes_with_a_platform_each_keep_both() {
    needs!(Run, Emulator);
    let setup = Setup::new();
    let to = format!("{},mode=max", setup.cache());
    std::thread::scope(|scope| {
        for platform in PLATFORMS.split(',') {
            let (setup, to) = (&setup, &to);
            scope.spawn(move || {
                let place = setup.place();
                let context = place.context();
                let args = ["build", "--platform", platform, "--cache-to", to];
                place.run(args.iter().copied().chain(context.to_str())).ok();
            });
        }
    });
    let (both, requests) = setup.build(&setup.place(), &["--cache-from", &setup.cache()]);
    assert_eq!(both.steps(), "24 cached, 0 done");
    assert!(requests.len() <= 6, "{requests:#?}");
}

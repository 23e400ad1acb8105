//! Debian's docker-registry behind a proxy that fails: nothing is lost, nothing is half published,
//! and the status says what happened.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    CREDENTIALS, FaultProxy, Finished, Place, Plan, Registry, TlsFront, TokenServer, Trouble, User,
    needs, tool,
};
use crate::image;

/// A kind of registry.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Open,
    Password,
    Tokens,
    /// The proxy speaks TLS, with an authority of its own.
    Tls,
}

impl Kind {
    fn has_login(self) -> bool {
        matches!(self, Self::Password | Self::Tokens)
    }
}

struct Setup {
    registry: Registry,
    proxy: FaultProxy,
    /// The name of the proxy.
    host: String,
    place: Place,
    kind: Kind,
    tokens: TokenServer,
}

impl Setup {
    fn new(kind: Kind) -> Self {
        let tokens = TokenServer::start();
        let registry = match kind {
            Kind::Open | Kind::Tls => Registry::start(),
            Kind::Password => Registry::with_password(),
            Kind::Tokens => Registry::with_tokens(&tokens),
        };
        let creds: &[&str] = match kind {
            Kind::Open | Kind::Tls => &[],
            Kind::Password | Kind::Tokens => &["--dest-creds", "suite:secret"],
        };
        registry.push_busybox("base/busybox", creds);
        let proxy = FaultProxy::start(&registry.host);
        let place = Place::new(User::Me);
        let mut host = proxy.host.clone();
        if kind == Kind::Tls {
            let front = TlsFront::start(&proxy.host);
            let folder = place.path().join("home/.docker/certs.d").join(&front.host);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("ca.crt"), &front.authority).unwrap();
            host = front.host;
        }
        if kind.has_login() {
            let folder = place.path().join("home/.docker");
            fs::create_dir_all(&folder).unwrap();
            let auths =
                json!({&proxy.host: {"auth": CREDENTIALS}, &registry.host: {"auth": CREDENTIALS}});
            fs::write(folder.join("config.json"), json!({ "auths": auths }).to_string()).unwrap();
        }
        place.dockerfile(&format!("FROM {}/base/busybox\nCOPY a /\n", host));
        Self { registry, proxy, host, place, kind, tokens }
    }

    /// Builds a new image of two platforms from the base, with an empty store, and pushes it.
    fn build(&self, number: usize) -> Finished {
        self.place.write("a", format!("{number}"));
        let name = format!("{}/app{number}:1", self.host);
        let store = self.place.out(&format!("store-{number}"));
        let args = ["--platform", "linux/amd64,linux/arm64", "--push", "-t", &name];
        let args = [&args[..], &["--root", store.to_str().unwrap()]].concat();
        self.place.build(&args)
    }

    /// Copies the image from the registry itself, and checks every blob of it.
    fn is_whole(&self, number: usize) -> Vec<image::Image> {
        let copy = self.place.out(&format!("copy-{number}"));
        let from = format!("docker://{}/app{number}:1", self.registry.host);
        let to = format!("oci:{}:copy", copy.display());
        let mut args =
            vec!["--insecure-policy", "copy", "--all", "--quiet", "--src-tls-verify=false"];
        if self.kind.has_login() {
            args.extend(["--src-creds", "suite:secret"]);
        }
        tool("skopeo", args.into_iter().chain([from.as_str(), &to]));
        image::read(&copy)
    }

    /// Returns whether the tag of an image is there.
    fn has_tag(&self, number: usize) -> bool {
        let name = format!("docker://{}/app{number}:1", self.registry.host);
        let found = self.place.run(["inspect", "--raw", &name]);
        found.status == 0
    }
}

const NO_BODY: &str = "";
const AT_ONCE: &str = "retry-after: 0\r\n";
const BASIC: &str = "www-authenticate: Basic realm=\"suite\"\r\n";

/// Faults that pass: a build gets over each of them.
fn passing() -> Vec<Plan> {
    let plan = |method, part, times, trouble| Plan { method, part, times, trouble };
    let blob = "/base/busybox/blobs/sha256";
    let base = "/base/busybox/manifests/";
    let upload = "/blobs/uploads/";
    vec![
        // Pulls.
        plan("GET", blob, 2, Trouble::CutAnswer(0)),
        plan("GET", blob, 2, Trouble::CutAnswer(1000)),
        plan("GET", blob, 1, Trouble::OtherBytes),
        plan("GET", blob, 3, Trouble::Answer(503, NO_BODY)),
        plan("GET", blob, 2, Trouble::Answer(429, AT_ONCE)),
        plan("GET", blob, 2, Trouble::Redirect),
        plan("GET", blob, 4, Trouble::Wait(Duration::from_millis(200))),
        plan("GET", base, 1, Trouble::OtherBytes),
        plan("GET", base, 2, Trouble::CutAnswer(10)),
        plan("GET", base, 2, Trouble::Answer(500, NO_BODY)),
        plan("GET", base, 2, Trouble::Answer(429, AT_ONCE)),
        // Pushes.
        plan("POST", upload, 2, Trouble::Answer(502, NO_BODY)),
        plan("POST", upload, 2, Trouble::Answer(429, AT_ONCE)),
        plan("POST", upload, 1, Trouble::CutAnswer(0)),
        plan("PUT", upload, 2, Trouble::CutRequest(10)),
        plan("PUT", upload, 2, Trouble::CutAnswer(0)),
        plan("PUT", upload, 2, Trouble::Answer(503, NO_BODY)),
        plan("PUT", upload, 2, Trouble::Wait(Duration::from_millis(200))),
        plan("PUT", "/manifests/", 2, Trouble::Answer(503, NO_BODY)),
        plan("PUT", "/manifests/", 1, Trouble::CutAnswer(0)),
        plan("PUT", "/manifests/", 2, Trouble::CutRequest(5)),
        plan("HEAD", "/blobs/", 3, Trouble::Answer(500, NO_BODY)),
        plan("HEAD", "/blobs/", 9, Trouble::Answer(405, NO_BODY)),
        // Mounts are best effort.
        plan("POST", "mount=", 9, Trouble::Answer(404, NO_BODY)),
        plan("POST", "mount=", 9, Trouble::Answer(405, NO_BODY)),
        plan("POST", "mount=", 9, Trouble::Answer(500, NO_BODY)),
    ]
}

#[test]
fn faults_that_pass_cost_nothing() {
    needs!(Registry, Tool("skopeo"));
    for kind in [Kind::Open, Kind::Password, Kind::Tokens, Kind::Tls] {
        let setup = Setup::new(kind);
        let mut plans = passing();
        // A login or token that the registry forgets in the middle of an upload.
        let expired = match kind {
            Kind::Open | Kind::Tls => None,
            Kind::Password => Some(BASIC),
            Kind::Tokens => {
                let realm = &setup.tokens.realm;
                let scope = "repository:app0:pull,push";
                let text = format!(
                    "www-authenticate: Bearer realm=\"{realm}\",service=\"suite\",scope=\"{scope}\",\
                     error=\"invalid_token\"\r\n"
                );
                Some(&*text.leak())
            }
        };
        if let Some(headers) = expired {
            let trouble = Trouble::Answer(401, headers);
            plans.insert(0, Plan { method: "PUT", part: "/blobs/uploads/", times: 1, trouble });
        }
        if kind == Kind::Tls {
            // A redirect from there to plain HTTP is refused. The others are tried without TLS.
            plans.retain(|plan| plan.trouble != Trouble::Redirect);
            plans = plans.into_iter().step_by(2).collect();
        }
        if kind == Kind::Tokens {
            // The others are tried without tokens.
            plans.truncate(8);
        }
        for (number, plan) in plans.into_iter().enumerate() {
            setup.proxy.plan(std::slice::from_ref(&plan));
            let built = setup.build(number);
            assert_eq!(built.status, 0, "{kind:?} {plan:?}\n{}", built.stderr);
            assert!(setup.proxy.left()[0] < plan.times, "{plan:?} met no request");
            setup.proxy.plan(&[]);
            let images = setup.is_whole(number);
            assert_eq!(images.len(), 2, "{plan:?}");
            assert!(images.iter().all(|image| image.text("a") == number.to_string()), "{plan:?}");
        }
        assert_eq!(setup.tokens.given() > 0, kind == Kind::Tokens);
    }
}

/// A registry with TLS, whose certificate only this user trusts.
#[test]
fn an_authority_of_ones_own_is_trusted_if_told() {
    needs!(Registry, Tool("skopeo"));
    let (registry, certificate) = Registry::with_tls();
    let base = registry.push_busybox("base/busybox", &[]);
    let place = Place::new(User::Me);
    place.write("a", "a").dockerfile(&format!("FROM {base}\nCOPY a /\n"));
    let name = format!("{}/app:1", registry.host);
    let args = ["--platform", "linux/amd64,linux/arm64", "--push", "-t", &name];
    place.build(&args).fails(4, &["no secure connection", "certificate"]);
    let insecure = ["--registry-insecure", registry.host.as_str()];
    place.build(&[&args[..], &insecure].concat()).ok();
    let folder = place.path().join("home/.docker/certs.d").join(&registry.host);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("ca.crt"), certificate).unwrap();
    place.write("a", "b").build(&args).ok();
    let copy = format!("{}/copy:1", registry.host);
    place.run(["index", "create", &copy, &name]).ok();
    place.run(["index", "rm", &copy, "linux/arm64"]).ok();
    let text = place.run(["inspect", &format!("docker://{copy}")]).ok().stdout;
    assert!(text.contains("linux/amd64") && !text.contains("linux/arm64"), "{text}");
}

/// A part of a blob that was asked for and is refused: the blob comes from its start.
#[test]
fn ranges_may_be_refused_after_a_break() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(Kind::Open);
    for (number, status) in [416, 400, 501].into_iter().enumerate() {
        let blob = "/base/busybox/blobs/sha256";
        let cut = Trouble::CutAnswer(5000);
        let refused = Trouble::Answer(status, NO_BODY);
        setup.proxy.plan(&[
            Plan { method: "GET", part: "range: bytes=", times: 9, trouble: refused },
            Plan { method: "GET", part: blob, times: 2, trouble: cut },
        ]);
        let built = setup.build(number);
        assert_eq!(built.status, 0, "{status}\n{}", built.stderr);
        assert!(setup.proxy.left()[0] < 9, "no part was asked for");
        setup.proxy.plan(&[]);
        assert_eq!(setup.is_whole(number).len(), 2);
    }
}

/// Faults that stay end the build, with the status of a registry, and give no tag.
#[test]
fn faults_that_stay_publish_nothing() {
    needs!(Registry, Tool("skopeo"));
    [Kind::Open, Kind::Tls].into_iter().for_each(publishes_nothing);
}

fn publishes_nothing(kind: Kind) {
    let setup = Setup::new(kind);
    let plan = |method, part, trouble| Plan { method, part, times: 99, trouble };
    let denied = Trouble::Answer(403, NO_BODY);
    for (number, plan) in [
        plan("GET", "/base/busybox/blobs/sha256", Trouble::OtherBytes),
        plan("GET", "/base/busybox/manifests/", denied),
        plan("POST", "/blobs/uploads/", denied),
        plan("PUT", "/blobs/uploads/", denied),
        plan("PUT", "/manifests/sha256", denied),
        plan("PUT", "/manifests/1", denied),
        plan("PUT", "/blobs/uploads/", Trouble::Answer(507, NO_BODY)),
    ]
    .into_iter()
    .enumerate()
    {
        setup.proxy.plan(std::slice::from_ref(&plan));
        let built = setup.build(number);
        assert_eq!(built.status, 4, "{plan:?}\n{}", built.stderr);
        setup.proxy.plan(&[]);
        assert!(!setup.has_tag(number), "{plan:?}");
        // Nothing stands in the way of the next build.
        assert_eq!(setup.build(number).status, 0, "{plan:?}");
        assert_eq!(setup.is_whole(number).len(), 2);
    }
}

/// Indexes are copied through the same faults.
#[test]
fn indexes_are_copied_through_faults() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(Kind::Open);
    let source = format!("{}/base/busybox", setup.proxy.host);
    let plan = |method, part, times, trouble| Plan { method, part, times, trouble };
    let no_mount = plan("POST", "mount=", 99, Trouble::Answer(405, NO_BODY));
    for (number, plan) in [
        plan("GET", "/blobs/", 2, Trouble::CutAnswer(100)),
        plan("GET", "/blobs/", 1, Trouble::OtherBytes),
        plan("GET", "/manifests/", 1, Trouble::CutAnswer(100)),
        plan("PUT", "/manifests/", 2, Trouble::Answer(503, NO_BODY)),
    ]
    .into_iter()
    .enumerate()
    {
        setup.proxy.plan(&[no_mount.clone(), plan.clone()]);
        let target = format!("{}/app{number}:1", setup.proxy.host);
        let store = setup.place.out(&format!("store-{number}"));
        let create = ["index", "create", &target, &source, "--root", store.to_str().unwrap()];
        let platforms = ["--platform", "linux/amd64,linux/arm64"];
        let made = setup.place.run([&create[..], &platforms].concat());
        assert_eq!(made.status, 0, "{plan:?}\n{}", made.stderr);
        assert!(setup.proxy.left()[1] < plan.times, "{plan:?}");
        setup.proxy.plan(&[]);
        assert_eq!(setup.is_whole(number).len(), 2);
    }
}

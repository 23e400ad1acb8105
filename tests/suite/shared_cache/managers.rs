//! Cache mounts of apt, pip and cargo themselves, on their way to an empty machine. All that they
//! download comes from a server of the test.

use xbuild_testkit::files::FileServer;
use xbuild_testkit::registry::Registry;
use xbuild_testkit::wire::Response;

use super::registry_cache;
use crate::harness::{Finished, Place, User, needs, tool};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Makes a file with a Python script, which gets its path and writes it, and returns its bytes.
fn made(place: &Place, name: &str, script: &str) -> Vec<u8> {
    let file = place.out(name);
    tool("python3", ["-c", script, file.to_str().unwrap()]);
    std::fs::read(file).unwrap()
}

/// Builds once with caches that cache mounts go to, and again on an empty machine with those that they
/// come from, each with its own script.
fn twice(
    user: User,
    base: &str,
    dockerfile: impl Fn(&str) -> String,
    scripts: [&str; 2],
) -> [Finished; 2] {
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let mut options = ["--cache-mounts-to", "--cache-mounts-from"].into_iter();
    scripts.map(|script| {
        let place = Place::new(user);
        place.dockerfile(&dockerfile(script));
        let base = place.base(base);
        place.build(&["--build-context", &base, options.next().unwrap(), &cache]).ok()
    })
}

/// A Debian package with one file, as `ar` packs it.
const DEB: &str = r#"
import io, sys, tarfile
def packed(name, text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return buffer.getvalue()
control = b"Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: suite\nDescription: a test\n"
with open(sys.argv[1], "wb") as deb:
    deb.write(b"!<arch>\n")
    for name, data in [("debian-binary", b"2.0\n"), ("control.tar.gz", packed("./control", control)),
                       ("data.tar.gz", packed("./etc/demo", b"42\n"))]:
        deb.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
        deb.write(data + b"\n" * (len(data) % 2))
"#;

/// apt installs without its server what it has installed elsewhere: lists, packages, and the owners that it
/// wants them to have.
#[test]
fn apt_finds_what_it_had_elsewhere() {
    needs!(Run, Range, Debian, Tool("python3"));
    let users = User::all();
    let user = [User::Ranged, User::Me].into_iter().find(|user| users.contains(user)).unwrap();
    let server = FileServer::start();
    let deb = made(&Place::new(User::Me), "demo.deb", DEB);
    let list = format!(
        "Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: suite\nDescription: a test\n\
         Filename: ./demo_1.0_all.deb\nSize: {}\nSHA256: {}\n\n",
        deb.len(),
        xbuild_model::Digest::of(&deb).hex()
    );
    server.put("/./Packages", "\"1\"", DATE, list);
    server.put("/./demo_1.0_all.deb", "\"1\"", DATE, deb);
    let source = format!("deb [trusted=yes] {} ./", server.url("/"));
    // Keeps what apt downloads, as the documentation of Docker says.
    let dockerfile = |script: &str| {
        format!(
            "FROM debian\nENV DEBIAN_FRONTEND=noninteractive\nRUN rm -rf \
             /etc/apt/apt.conf.d/docker-clean /etc/apt/sources.list.d && echo '{source}' > \
             /etc/apt/sources.list && echo 'Binary::apt::APT::Keep-Downloaded-Packages \"true\";' > \
             /etc/apt/apt.conf.d/keep-cache\nRUN \
             --mount=type=cache,target=/var/cache/apt,sharing=locked \
             --mount=type=cache,target=/var/lib/apt,sharing=locked {script} && [ $(cat /etc/demo) = 42 ]\n"
        )
    };
    let first = "apt-get update -q && apt-get install -y -q demo";
    let second = "[ $(stat -c %U /var/cache/apt/archives/partial) = _apt ] && \
                  [ -n \"$(ls /var/lib/apt/lists/*_Packages*)\" ] && \
                  apt-get install -y -q --no-download demo";
    let [filled, found] = twice(user, "debian", dockerfile, [first, second]);
    filled.says(&["cache: 2 cache mounts in"]);
    found.does_not_say("warning: the cache");
    let log = server.log();
    assert_eq!(log.iter().filter(|request| request.path().ends_with(".deb")).count(), 1);
}

/// A wheel with one module.
const WHEEL: &str = r#"
import sys, zipfile
files = {"demo.py": "print(42)\n", "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: suite\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "demo-1.0.dist-info/RECORD": ""}
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
"#;

/// A crate with one function, as cargo packs it.
const CRATE: &str = r##"
import io, sys, tarfile
with tarfile.open(sys.argv[1], "w:gz") as tar:
    for name, text in [("Cargo.toml", "[package]\nname = 'demo'\nversion = '1.0.0'\nedition = '2021'\n"),
                       ("src/lib.rs", "#![no_std]\npub fn answer() -> u32 { 42 }\n")]:
        info = tarfile.TarInfo("demo-1.0.0/" + name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
"##;

/// pip downloads nothing again, and cargo finds its registry and what it has compiled, without a network.
#[test]
fn pip_and_cargo_find_what_they_had_elsewhere() {
    needs!(Run, Managers, Tool("python3"));
    let server = FileServer::start();
    let place = Place::new(User::Me);
    let page = "<a href=\"/demo-1.0-py3-none-any.whl\">demo</a>";
    let page = Response::new(200).with("content-type", "text/html").body(page);
    server.answer("/simple/demo/", [page]);
    let wheel = made(&place, "demo-1.0-py3-none-any.whl", WHEEL);
    server.put("/demo-1.0-py3-none-any.whl", "\"1\"", DATE, wheel);
    let packed = made(&place, "demo.crate", CRATE);
    let digest = xbuild_model::Digest::of(&packed);
    let entry = format!(
        r#"{{"name":"demo","vers":"1.0.0","deps":[],"cksum":"{}","features":{{}},"yanked":false}}"#,
        digest.hex()
    );
    let config = format!(r#"{{"dl":"{}"}}"#, server.url("/crates/{crate}-{version}.crate"));
    server.put("/index/config.json", "\"1\"", DATE, config);
    server.put("/index/de/mo/demo", "\"1\"", DATE, entry);
    server.put("/crates/demo-1.0.0.crate", "\"1\"", DATE, packed);
    let (simple, index) = (server.url("/simple/"), server.url("/index/"));
    let dockerfile = |cargo: &str| {
        format!(
            "FROM managers\nENV LD_LIBRARY_PATH=/usr/local/lib PYTHONPATH=/usr/local/share/pip\n\
             RUN --mount=type=cache,target=/root/.cache/pip python3 -m pip install --index-url \
             {simple} --trusted-host 127.0.0.1 --target /site demo && [ $(python3 /site/demo.py) = 42 ]\n\
             ENV CARGO_HOME=/cargo\nWORKDIR /app\nCOPY <<EOF Cargo.toml\n[package]\nname = 'app'\n\
             version = '0.1.0'\nedition = '2021'\n[dependencies]\ndemo = {{ version = '1', registry = \
             'own' }}\nEOF\nCOPY <<EOF src/lib.rs\n#![no_std]\npub fn answer() -> u32 {{ demo::answer() }}\n\
             EOF\nCOPY <<EOF /cargo/config.toml\n[registries.own]\nindex = 'sparse+{index}'\nEOF\n\
             RUN --mount=type=cache,target=/cargo/registry --mount=type=cache,target=/app/target \
             cargo build --verbose {cargo} && test -s target/debug/libapp.rlib\n"
        )
    };
    let [filled, found] = twice(User::Me, "managers", dockerfile, ["--jobs 1", "--offline"]);
    filled.says(&[
        "cache: 3 cache mounts in",
        "Downloading http://127.0.0.1",
        "Compiling demo v1.0.0",
    ]);
    found.says(&["Using cached", "Fresh demo v1.0.0"]);
    found.does_not_say("warning: the cache");
    let log = server.log();
    let asked =
        |end: &str| log.iter().filter(|request| request.path().ends_with(end)).collect::<Vec<_>>();
    assert_eq!(asked(".whl").last().unwrap().header("if-none-match"), Some("\"1\""), "{log:?}");
    assert_eq!(asked(".crate").len(), 1, "{log:?}");
}

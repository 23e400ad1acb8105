//! Cache mounts of apt and pip themselves, on their way to an empty machine.

use std::fs;

use xbuild_testkit::files::FileServer;
use xbuild_testkit::registry::Registry;

use super::registry_cache;
use crate::harness::{Finished, Place, User, needs, tool};

/// Keeps what apt downloads, as the documentation of Docker says.
const KEEP: &str = "rm -f /etc/apt/apt.conf.d/docker-clean && \
    echo 'Binary::apt::APT::Keep-Downloaded-Packages \"true\";' > /etc/apt/apt.conf.d/keep-cache";

const MOUNTS: &str = "--mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked";

/// Makes a wheel with one module, and returns it.
fn wheel(place: &Place) -> Vec<u8> {
    let file = place.out("demo-1.0-py3-none-any.whl");
    let script = "import sys, zipfile
files = {'demo.py': 'print(42)\\n', 'demo-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n',
    'demo-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: suite\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    'demo-1.0.dist-info/RECORD': ''}
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)";
    tool("python3", ["-c", script, file.to_str().unwrap()]);
    fs::read(file).unwrap()
}

fn build(place: &Place, index: &str, apt: &str, cache: [&str; 2]) -> Finished {
    let pip = format!("pip install --index-url {index} --trusted-host 127.0.0.1 demo");
    place.dockerfile(&format!(
        "FROM debian\nENV DEBIAN_FRONTEND=noninteractive PIP_BREAK_SYSTEM_PACKAGES=1\n\
         RUN {KEEP}\nRUN {MOUNTS} {apt}\n\
         RUN --mount=type=cache,target=/root/.cache/pip {pip} && [ $(python3 -m demo) = 42 ]\n"
    ));
    let base = place.base("debian");
    place.build(&["--build-context", &base, cache[0], cache[1]]).ok()
}

/// apt installs without its servers what it has installed elsewhere, and pip downloads nothing again.
#[test]
fn apt_and_pip_find_what_they_had_elsewhere() {
    needs!(Run, Range, Debian, Tool("python3"));
    let users = User::all();
    let user = [User::Ranged, User::Me].into_iter().find(|user| users.contains(user)).unwrap();
    let (registry, server) = (Registry::start(), FileServer::start());
    let cache = registry_cache(&registry.host());
    let first = Place::new(user);
    let (date, page) =
        ("Sun, 06 Nov 1994 08:49:37 GMT", "<a href=\"/demo-1.0-py3-none-any.whl\">d</a>");
    server.answer(
        "/simple/demo/",
        [xbuild_testkit::wire::Response::new(200).with("content-type", "text/html").body(page)],
    );
    server.put("/demo-1.0-py3-none-any.whl", "\"1\"", date, wheel(&first));
    let index = server.url("/simple/");
    let install = "apt-get install -y -q --no-install-recommends python3-pip";
    let apt = format!("apt-get update -q && {install}");
    let filled = build(&first, &index, &apt, ["--cache-mounts-to", &cache]);
    filled.says(&["cache: 3 cache mounts in", "Downloading http://127.0.0.1"]);
    drop(first);
    // The lists, the packages, and the owners that apt wants them to have.
    let apt = format!(
        "[ $(stat -c %U /var/cache/apt/archives/partial) = _apt ] && \
         [ -n \"$(ls /var/lib/apt/lists/*_Packages*)\" ] && {}",
        install.replacen("install", "install --no-download", 1)
    );
    let place = Place::new(user);
    let built = build(&place, &index, &apt, ["--cache-mounts-from", &cache]);
    built.says(&["Using cached"]);
    built.does_not_say("warning: the cache");
    let log = server.log();
    let last = log.iter().rfind(|request| request.path().ends_with(".whl")).unwrap();
    assert_eq!(last.header("if-none-match"), Some("\"1\""), "{log:?}");
}

//! Tests of the readers and of the document.

use xbuild_model::Digest;

use super::*;

/// Returns the URLs of the packages of a file, in its order.
fn urls(source: Source, text: &str, system: &System) -> Vec<String> {
    let listing = source.read(text.as_bytes(), system);
    assert_eq!(listing.unread, None);
    listing.packages.iter().map(|package| package.purl.to_string()).collect()
}

/// Returns how many packages a file tells of, and why there may be more.
fn unread(source: Source, text: &str) -> (usize, String) {
    let Listing { packages, unread } = source.read(text.as_bytes(), &System::default());
    (packages.len(), unread.map(|why| why.to_string()).unwrap_or_default())
}

fn debian() -> System {
    System::read("PRETTY_NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n")
}

#[test]
fn package_managers_of_systems() {
    let status = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u4\n\
        Architecture: amd64\nDescription: a\n Package: no\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: tzdata\nVersion: 2024a\nArchitecture: all\n";
    assert_eq!(
        urls(Source::Dpkg, status, &debian()),
        [
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12",
            "pkg:deb/debian/tzdata@2024a?arch=all&distro=debian-12",
        ]
    );
    let installed = "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:busybox\nV:1.36-r1\nA:x86_64\n";
    let alpine = System::read("ID='alpine'\nVERSION_ID=3.20.1\n");
    assert_eq!(
        urls(Source::Apk, installed, &alpine),
        [
            "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1",
            "pkg:apk/alpine/busybox@1.36-r1?arch=x86_64&distro=alpine-3.20.1",
        ]
    );
    let read = Source::Apk.read(installed.as_bytes(), &alpine);
    assert_eq!(read.packages[0].license.as_deref(), Some("MIT"));
    assert!(matches!(Source::Rpm.read(b"", &alpine).unread, Some(Unread::Unknown(_))));
}

#[test]
fn databases_with_odd_lines_tell_what_they_can() {
    // Each state in which the files of a package are there.
    let states = ["installed", "unpacked", "half-configured", "triggers-pending", "not-installed"];
    let status = states
        .map(|state| format!("Package: {state}\r\nStatus: install ok {state}\r\nVersion: 1\r\n"));
    let found = urls(Source::Dpkg, &status.join("\r\n"), &System::default());
    assert_eq!(found.len(), 4, "{found:?}");
    let whole = "Package: a\nVersion: 1\n\n\n \nPackage: b\nVersion: 2\n";
    for (end, expected) in [
        ("\n", (2, "")),
        ("Package: c", (3, "the entry at line 9 lacks its name or version")),
        (
            "\nPackage: c\nVersion: 3\n\nPackage: d\nVersion: 4\nArchi",
            (4, "it ends within a line, and its end may be missing"),
        ),
        (
            "\n<html>\n\nVersion: 1\n",
            (4, "2 entries lack their name or version, the first at line 9"),
        ),
    ] {
        let end = if end.starts_with("Package") { format!("\n{end}") } else { end.to_owned() };
        assert_eq!(
            unread(Source::Dpkg, &(whole.to_owned() + &end)),
            (expected.0, expected.1.to_owned())
        );
    }
    // A file of one package that somebody made by hand.
    assert_eq!(unread(Source::Dpkg, "Package: a\nVersion: 1"), (1, String::new()));
    let apk = "C:Q1\nP:a\nV:1\nF:etc\nM:0:0:755\nR:P\na:0:0:644\nZ:Q1\nX\n:\n\nP:b\nA:x\n\n";
    assert_eq!(
        unread(Source::Apk, apk),
        (2, "the entry at line 12 lacks its name or version".to_owned())
    );
}

#[test]
fn lock_files_of_node() {
    let system = System::default();
    let modern = r#"{"lockfileVersion":3,"packages":{
        "":{"name":"app","version":"1.0.0"},
        "node_modules/a":{"version":"1.2.3","license":"ISC"},
        "node_modules/a/node_modules/@s/b":{"version":"2.0.0"},
        "node_modules/alias":{"name":"real","version":"3.0.0"},
        "node_modules/own":{"resolved":"own","link":true},
        "own":{"version":"0.0.1"}}}"#;
    let mut found = urls(Source::PackageLock, modern, &system);
    found.sort();
    assert_eq!(found, ["pkg:npm/%40s/b@2.0.0", "pkg:npm/a@1.2.3", "pkg:npm/real@3.0.0"]);
    let old =
        r#"{"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}}}}"#;
    assert_eq!(urls(Source::PackageLock, old, &system), ["pkg:npm/a@1.0.0", "pkg:npm/b@2.0.0"]);
    let yarn = "# yarn lockfile v1\n\n\"@babel/core@^7.0.0\", \"@babel/core@^7.1.0\":\n  version \
        \"7.2.0\"\n  dependencies:\n    a \"^1\"\n\nalias@npm:real@^1:\n  version \"1.0.0\"\n";
    assert_eq!(
        urls(Source::Yarn, yarn, &system),
        ["pkg:npm/%40babel/core@7.2.0", "pkg:npm/real@1.0.0"]
    );
    let berry = "__metadata:\n  version: 8\n\n\"a@npm:^1, a@npm:^1.2\":\n  version: 1.2.3\n  \
        resolution: \"a@npm:1.2.3\"\n\n\"app@workspace:.\":\n  version: 0.0.0-use.local\n";
    assert_eq!(urls(Source::Yarn, berry, &system), ["pkg:npm/a@1.2.3"]);
    let pnpm = "lockfileVersion: '9.0'\n\npackages:\n\n  '@s/a@1.0.0(b@2.0.0)':\n    resolution: \
        {integrity: x}\n\n  b@2.0.0: {}\n\n  /c@3.0.0:\n    dev: true\n  /@s/d/4.0.0_b@2:\n\n\
        snapshots:\n\n  no@1.0.0: {}\n";
    let expected =
        ["pkg:npm/%40s/a@1.0.0", "pkg:npm/b@2.0.0", "pkg:npm/c@3.0.0", "pkg:npm/%40s/d@4.0.0"];
    assert_eq!(urls(Source::Pnpm, pnpm, &system), expected);
}

#[test]
fn names_of_node_that_are_not_those_of_packages() {
    let system = System::default();
    let npm = r#"{"lockfileVersion":1,"dependencies":{"own":{"version":"file:own"},
        "alias":{"version":"npm:@s/real@2.0.0"}}}"#;
    assert_eq!(urls(Source::PackageLock, npm, &system), ["pkg:npm/%40s/real@2.0.0"]);
    let yarn = "__metadata:\r\n  version: 8\r\n\r\n? \"long@npm:^1, long@npm:^2\"\r\n:\r\n  \
        version: 2.1.0\r\n\r\n\"own@link:./own::locator=x\":\r\n  version: 0.0.0-use.local\r\n";
    assert_eq!(urls(Source::Yarn, yarn, &system), ["pkg:npm/long@2.1.0"]);
    let pnpm = "lockfileVersion: 5.3\npackages:\n  /lodash.merge/4.6.2:\n    dev: false\n  \
        /react-dom/16.1.0_react@16.1.0:\n    dev: false\n  r.example/@s/x/1.0.0:\n    dev: true\n  \
        github.com/o/r/0123:\n    name: real\n    version: 1.1.0\n  'file:own':\n    name: own\n";
    assert_eq!(
        urls(Source::Pnpm, pnpm, &system),
        [
            "pkg:npm/lodash.merge@4.6.2",
            "pkg:npm/react-dom@16.1.0",
            "pkg:npm/%40s/x@1.0.0",
            "pkg:npm/real@1.1.0"
        ]
    );
    let newer = "lockfileVersion: '9.0'\r\n\r\npackages:\r\n\r\n  lodash.merge@4.6.2:\r\n    \
        resolution: {integrity: x}\r\n\r\n  r@https://codeload.x/o/r/tar.gz/01:\r\n    resolution: \
        {tarball: x}\r\n    version: 1.2.0\r\n\r\n  own@file:own:\r\n    resolution: {directory: own}\r\n";
    assert_eq!(
        urls(Source::Pnpm, newer, &system),
        ["pkg:npm/lodash.merge@4.6.2", "pkg:npm/r@1.2.0"]
    );
}

#[test]
fn what_is_no_lock_file_is_told() {
    let html = "<!DOCTYPE html>\n<html>\n";
    for source in [
        Source::PackageLock,
        Source::Yarn,
        Source::Pnpm,
        Source::CargoLock,
        Source::PythonLock,
        Source::Pylock,
        Source::Pipfile,
        Source::PythonMetadata,
        Source::Gemfile,
        Source::GoSum,
        Source::Composer,
        Source::NugetLock,
        Source::DotnetDeps,
    ] {
        assert!(!unread(source, html).1.is_empty(), "{source:?}");
        assert!(
            !unread(source, "[]").1.is_empty() || matches!(source, Source::Composer),
            "{source:?}"
        );
    }
    let merged = "<<<<<<< ours\na@^1:\n  version \"1.0.0\"\n=======\n>>>>>>> theirs\n";
    assert_eq!(unread(Source::Yarn, merged).1, "it has the marks of a merge that was not finished");
    assert_eq!(
        unread(Source::GoSum, "a v1 h1:x=\nb\n\nc v1\n").1,
        "2 entries lack their name or version, the first at line 2"
    );
}

#[test]
fn lock_files_of_other_languages() {
    let system = System::default();
    let toml = "version = 3\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n\n\
        [[package]]\nname = \"no-version\"\n";
    assert_eq!(urls(Source::CargoLock, toml, &system), ["pkg:cargo/serde@1.0.0"]);
    assert_eq!(urls(Source::PythonLock, toml, &system), ["pkg:pypi/serde@1.0.0"]);
    let requirements = "# x\nFlask_Login[a]==1.0 ; python_version > '3'\nb == 2.0 \\\n    \
        --hash=sha256:00\nc>=3\nd==4.*\n-r other==1\ne>=1,==2\nf==1,<2\nhttps://r.example/g==1\nh===1.0\n";
    assert_eq!(
        urls(Source::Requirements, requirements, &system),
        ["pkg:pypi/flask-login@1.0", "pkg:pypi/b@2.0", "pkg:pypi/h@1.0"]
    );
    // As the shell of Windows writes it.
    let wide: Vec<u8> =
        "\u{feff}a==1.0\r\nb==2.0\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(Source::Requirements.read(&wide, &system).packages.len(), 2);
    let pylock = "lock-version = \"1.0\"\n[[packages]]\nname = \"attrs\"\nversion = \"25.1.0\"\n";
    assert_eq!(urls(Source::Pylock, pylock, &system), ["pkg:pypi/attrs@25.1.0"]);
    let metadata = "Metadata-Version: 2.1\nName: zope.interface\nVersion: 6.0\nLicense: ZPL\n\n\
        Name: other\nVersion: 1\n";
    assert_eq!(urls(Source::PythonMetadata, metadata, &system), ["pkg:pypi/zope-interface@6.0"]);
    let pipfile = r#"{"default":{"a":{"version":"==1.0"},"b":{"path":"."}},"develop":{},"docs":{"c":{"version":"==3"}},
        "_meta":{"sources":{"version":"==9"}}}"#;
    assert_eq!(urls(Source::Pipfile, pipfile, &system), ["pkg:pypi/a@1.0", "pkg:pypi/c@3"]);
    let gems = "PATH\n  remote: .\n  specs:\n    own (0.1)\n\nGEM\n  remote: x\n  specs:\n    \
        rake (13.0.6)\n      needed (>= 1)\n    nokogiri (1.15.0-x86_64-linux)\n\nPLATFORMS\n  ruby\n";
    assert_eq!(
        urls(Source::Gemfile, gems, &system),
        ["pkg:gem/rake@13.0.6", "pkg:gem/nokogiri@1.15.0?platform=x86_64-linux"]
    );
    let sums = "github.com/a/b v1.0.0 h1:x=\ngithub.com/a/b v1.0.0/go.mod h1:y=\n\n";
    assert_eq!(urls(Source::GoSum, sums, &system), ["pkg:golang/github.com/a/b@v1.0.0"]);
    let composer = r#"{"packages":[{"name":"v/a","version":"1.0","license":["MIT","ISC"]}],
        "packages-dev":[{"name":"v/b","version":"2.0"}]}"#;
    assert_eq!(
        urls(Source::Composer, composer, &system),
        ["pkg:composer/v/a@1.0", "pkg:composer/v/b@2.0"]
    );
    assert_eq!(urls(Source::Composer, r#"[{"name":"v/a","version":"1"}]"#, &system).len(), 1);
    let nuget = r#"{"version":1,"dependencies":{"net8.0":{"N.Json":{"type":"Direct","resolved":"13.0.3"},
        "own":{"type":"Project"}}}}"#;
    assert_eq!(urls(Source::NugetLock, nuget, &system), ["pkg:nuget/N.Json@13.0.3"]);
    let deps =
        r#"{"libraries":{"app/1.0.0":{"type":"project"},"N.Json/13.0.3":{"type":"package"}}}"#;
    assert_eq!(urls(Source::DotnetDeps, deps, &system), ["pkg:nuget/N.Json@13.0.3"]);
}

#[test]
fn no_text_stops_a_reader() {
    let all = [
        Source::Dpkg,
        Source::Apk,
        Source::PackageLock,
        Source::Yarn,
        Source::Pnpm,
        Source::CargoLock,
        Source::PythonLock,
        Source::Pipfile,
        Source::Requirements,
        Source::PythonMetadata,
        Source::Gemfile,
        Source::GoSum,
        Source::Composer,
    ];
    let texts: [&[u8]; 10] = [
        b"",
        b"\n",
        b":",
        b"@",
        b"\xff\xfe",
        b"\"@\":\n  version \"",
        b"packages:\n  '':\n  \xe9@:",
        b"==",
        b"    (",
        b"[]",
    ];
    for source in all {
        for text in texts {
            let mut inventory = Inventory::default();
            let place = FilePlace { path: "a".to_owned(), layer: "b".to_owned() };
            inventory.add(&place, source.read(text, &System::default()));
            assert!(inventory.packages.values().all(|(package, _)| !package.name.is_empty()));
        }
    }
}

#[test]
fn paths_tell_what_a_file_is() {
    for (path, source) in [
        ("var/lib/dpkg/status.d/base", Some(Source::Dpkg)),
        ("var/lib/dpkg/status.d/base.md5sums", None),
        ("var/lib/rpm/rpmdb.sqlite", Some(Source::Rpm)),
        ("x/rpmdb.sqlite", None),
        ("a/b.dist-info/METADATA", Some(Source::PythonMetadata)),
        ("a/METADATA", None),
        ("Cargo.lock", Some(Source::CargoLock)),
        ("a/node_modules/.package-lock.json", Some(Source::PackageLock)),
        ("usr/lib/python3/dist-packages/a-1.0.egg-info", Some(Source::PythonMetadata)),
        ("a/b.egg/EGG-INFO/PKG-INFO", Some(Source::PythonMetadata)),
        ("a/PKG-INFO", None),
        ("a/pylock.docs.toml", Some(Source::Pylock)),
        ("app/app.deps.json", Some(Source::DotnetDeps)),
        ("var/lib/rpmmanifest/container-manifest-1", Some(Source::Rpm)),
    ] {
        assert_eq!(source_of(path), source, "{path}");
    }
}

#[test]
fn a_document_says_what_there_is_and_what_is_not_read() {
    let mut inventory = Inventory::new(debian());
    let status = "Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n";
    let place = |path: &str| FilePlace { path: path.to_owned(), layer: "sha256:00".to_owned() };
    let read = |text: &str| Source::Dpkg.read(text.as_bytes(), &debian());
    inventory.add(&place("var/lib/dpkg/status.d/b"), read("Package: b\nVersion: 2\n"));
    inventory.add(&place("var/lib/dpkg/status"), read(status));
    inventory.add(&place("var/lib/rpm/Packages"), Source::Rpm.read(b"", &debian()));
    let image = Described {
        platform: "linux/amd64".to_owned(),
        identity: Digest::of(b""),
        created: "2024-01-01T00:00:00Z".to_owned(),
        creator: "xbuild-1.2.3".to_owned(),
    };
    let document = inventory.document(&image);
    assert_eq!(document, inventory.document(&image));
    let names = document["packages"].as_array().unwrap().iter().map(|package| &package["name"]);
    let names: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names[1..], ["debian", "a", "b"]);
    let found = document["packages"][3]["sourceInfo"].as_str().unwrap();
    assert!(found.contains("status.d/b in layer sha256:00, var/lib/dpkg/status in"), "{found}");
    let comment = document["comment"].as_str().unwrap();
    assert!(comment.contains("var/lib/rpm/Packages: the database of rpm is not read"), "{comment}");
    assert_eq!(document["relationships"].as_array().unwrap().len(), 4);
}

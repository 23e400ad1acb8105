//! Remote sources: ADD from URLs and repositories, and build contexts of all kinds.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xbuild_testkit::files::FileServer;
use xbuild_testkit::wire::Response;

use crate::harness::{Finished, Need, Place, User, needs, to_layout, tool};
use crate::image::{self, Image};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Builds with these arguments, which name the context, and this standard input.
fn run(place: &Place, args: &[&str], stdin: &[u8]) -> Finished {
    let mut command = place.xbuild(["build", "--progress", "plain"]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Ignore that the build may not read all of it: standard error says why.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    Finished::of(child.wait_with_output().unwrap())
}

/// The same for a build that must succeed; returns the image.
#[track_caller]
fn image(place: &Place, args: &[&str], stdin: &[u8]) -> Image {
    let layout = place.out("image");
    let _ = fs::remove_dir_all(&layout);
    run(place, &[&["--output", &to_layout(&layout)], args].concat(), stdin).ok();
    image::read(&layout).remove(0)
}

/// Returns a tar archive of files.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_uid(1000);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A repository, offered by a server of git's own protocol.
struct GitServer {
    daemon: Child,
    folder: PathBuf,
    port: u16,
}

impl GitServer {
    fn start(folder: &Path) -> Self {
        let folder = folder.join("r.git");
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        fs::create_dir(&folder).unwrap();
        // Started directly: as a child of `git daemon` it would outlive a kill of its parent.
        let mut daemon =
            Command::new(Path::new(&tool("git", ["--exec-path"]).trim()).join("git-daemon"));
        daemon.args(["--export-all", "--listen=127.0.0.1", "--reuseaddr"]);
        daemon.arg(format!("--port={port}"));
        daemon.arg(format!("--base-path={}", folder.parent().unwrap().display()));
        daemon.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory");
        daemon.env("GIT_CONFIG_VALUE_0", "*");
        let daemon = daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { daemon, folder, port };
        server.git(&["init", "--quiet", "--initial-branch=main"]);
        let begin = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "the daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn url(&self) -> String {
        format!("git://127.0.0.1:{}/r.git", self.port)
    }

    fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "somebody");
            command.env(format!("GIT_{who}_EMAIL"), "a@b.example");
            command.env(format!("GIT_{who}_DATE"), "1000000000 +0000");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn add_takes_files_from_urls() {
    let server = FileServer::start();
    server.put("/d/f.txt", "\"1\"", DATE, "one");
    server.put("/a.tar.gz", "\"a\"", DATE, gzip(&tar(&[("inside", "x")])));
    for user in User::all() {
        let place = Place::new(user);
        let (file, archive) = (server.url("/d/f.txt"), server.url("/a.tar.gz"));
        place.write("local", "local").dockerfile(&format!(
            r"
            FROM scratch
            ADD {file} local {file} /d/
            ADD --chown=1:2 --chmod=640 {file} /g
            ADD {archive} /
            ADD --unpack {archive} /u/
            ",
        ));
        let image = place.image(&[]);
        assert_eq!(
            image.lines(0),
            ["dir 755 0:0 d", "file 600 0:0 d/f.txt", "file 644 0:0 d/local"]
        );
        assert_eq!(image.text("d/f.txt"), "one");
        assert_eq!(image.lines(1), ["file 640 1:2 g"]);
        assert_eq!(image.lines(2), ["file 600 0:0 a.tar.gz"]);
        assert_eq!(image.text("u/inside"), "x");
        // Nothing has changed, so every step is cached and no file is sent again.
        let before = server.log().len();
        assert_eq!(place.build(&[]).ok().steps(), "4 cached, 0 done");
        let log = server.log().split_off(before);
        assert!(log.iter().all(|request| request.header("if-none-match").is_some()), "{log:?}");
        assert_eq!(log.len(), 2);
    }
}

#[test]
fn an_older_file_is_not_taken_for_the_newer_one() {
    let server = FileServer::start();
    let place = Place::new(User::Me);
    let add = place.path().join("add");
    fs::create_dir(&add).unwrap();
    fs::write(add.join("Dockerfile"), format!("FROM scratch\nADD {} /f\n", server.url("/f")))
        .unwrap();
    let dockerfile = |text: &str| format!("FROM scratch\nCOPY <<EOF /f\n{text}\nEOF\n");
    // As many servers do, this one answers 304 to whoever knows a newer file.
    let serve = |date: &str, text: &str| {
        let put = |path: &str, body: Vec<u8>| {
            let file = Response::new(200).with("last-modified", date).body(body);
            server.answer(path, [file]);
            server.answer_conditional(path, Response::new(304));
        };
        put("/f", format!("{text}\n").into_bytes());
        put("/context.tar", tar(&[("Dockerfile", &dockerfile(text))]));
        put("/Dockerfile", dockerfile(text).into_bytes());
    };
    let (context, file) = (server.url("/context.tar"), server.url("/Dockerfile"));
    let add = add.to_str().unwrap();
    for (date, text) in [("Mon, 07 Nov 1994 08:49:37 GMT", "new"), (DATE, "old")] {
        serve(date, text);
        for args in [&[add][..], &[&context], &["--file", &file, add], &["--no-cache", add]] {
            assert_eq!(image(&place, args, b"").text("f"), text, "{args:?}");
        }
    }
}

#[test]
fn no_url_leads_a_build_to_this_machine() {
    // A proxy plays the server outside; this machine is reached without it.
    let (outside, inside) = (FileServer::start(), FileServer::start());
    let url = "http://files.example/f.tar";
    let place = Place::new(User::Me);
    let folder = place.path().join("add");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("Dockerfile"), format!("FROM scratch\nADD {url} /f\n")).unwrap();
    let folder = folder.to_str().unwrap().to_owned();
    let from = |to: String, args: &[&str]| {
        outside.answer(url, [Response::new(302).with("location", to)]);
        let mut command = place.xbuild(["build", "--progress", "plain"]);
        command.args(args).env("http_proxy", outside.url("")).env_remove("no_proxy");
        Finished::of(command.output().unwrap())
    };
    for host in ["localhost.", "127.0.0.1", "[::ffff:127.0.0.1]", "0"] {
        let target = inside.url("/secret").replace("127.0.0.1", host);
        for args in [&[folder.as_str()][..], &[url], &["--file", url, &folder]] {
            from(target.clone(), args).fails(
                4,
                &["http://files.example/f.tar points to", "not followed", "name that URL itself"],
            );
        }
    }
    assert!(inside.log().is_empty(), "{:?}", inside.log());
}

#[test]
fn a_checksum_is_checked_before_anything_is_used() {
    let server = FileServer::start();
    server.answer("/f", [Response::new(200).body("text")]);
    let place = Place::new(User::Me);
    let with = |text: &[u8]| {
        let digest = image::digest(text);
        place.dockerfile(&format!(
            "FROM scratch\nADD --checksum={digest} {} /f\n",
            server.url("/f")
        ));
    };
    with(b"other");
    place.build(&[]).fails(1, &["digest mismatch", "Dockerfile:2"]);
    with(b"text");
    assert_eq!(place.image(&[]).text("f"), "text");
    let asked = server.log().len();
    place.build(&[]).ok();
    assert_eq!(server.log().len(), asked);
    place.dockerfile(&format!("FROM scratch\nADD {} /f\n", server.url("/none")));
    place.build(&[]).fails(4, &["answered 404"]);
    // A password shows neither in the history nor in the log.
    let url = server.url("/f").replace("//", "//me:SECRET@");
    place.dockerfile(&format!("FROM scratch\nADD {url} /g\n"));
    let finished = place.build(&[]).ok();
    finished.does_not_say("SECRET");
    finished.says(&["ADD http://xxxxx:xxxxx@127.0.0.1"]);
    assert!(!place.image(&[]).config.to_string().contains("SECRET"));
}

#[test]
fn no_password_of_a_url_is_shown() {
    let server = FileServer::start();
    server.answer("/f", [Response::new(200).body("text")]);
    let place = Place::new(User::Me);
    let url = |path: &str| server.url(path).replace("//", "//me:SECRET@");
    place.dockerfile(&format!(
        "FROM scratch\nARG U={}\nADD [\"{}\",\"{}\",\"/d/\"]\n",
        url("/"),
        url("/f"),
        url("/none")
    ));
    let masked = "//xxxxx:xxxxx@127.0.0.1";
    let page = place.out("timeline.html");
    let args = ["-D", "--timeline", page.to_str().unwrap()];
    let excerpt = format!("3 |> ADD [\"http:{masked}");
    let finished = place.build(&args).fails(4, &["answered 404", "Dockerfile:3", &excerpt]);
    finished.does_not_say("SECRET");
    assert!(!fs::read_to_string(page).unwrap().contains("SECRET"));
    let finished = place.build(&["--progress", "rawjson"]).fails(4, &[masked]);
    finished.does_not_say("SECRET");
    for call in ["outline", "outline,format=json", "check,format=json", "targets,format=json"] {
        let text = place.build(&["--call", call]).ok().stdout;
        assert!(!text.contains("SECRET"), "{text}");
        // The Dockerfile is in the documents, too.
        let source = text.split('"').filter_map(|word| STANDARD.decode(word).ok());
        let found = source.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let found: Vec<String> = found.filter(|text| text.contains("FROM scratch")).collect();
        assert_eq!(found.len(), usize::from(call.contains("json")), "{text}");
        assert!(found.iter().all(|text| text.contains(masked) && !text.contains("SECRET")));
    }
    place.build(&["--file", &url("/none")]).fails(4, &["answered 404"]).does_not_say("SECRET");
    place.build(&[&format!("--load={}", url("/f"))]).fails(2, &[masked]).does_not_say("SECRET");
    run(&place, &[&url("/none.tar")], b"").fails(4, &["answered 404"]).does_not_say("SECRET");
    // Provenance has the Dockerfile, the commands and the build arguments.
    place.dockerfile(&format!("FROM scratch\nARG A\nADD {} /f\n", url("/f")));
    let layout = place.out("stated");
    let argument = format!("A={} {}", url("/a"), url("/b"));
    let to = to_layout(&layout);
    place.build(&["--provenance=mode=max", "--build-arg", &argument, "-o", &to]).ok();
    let mut masks = 0;
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let parts = text.split('"').filter_map(|word| STANDARD.decode(word).ok());
        let parts = parts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // The history of an image has arguments as they are, as with BuildKit.
        for text in parts.chain([text.clone()]).filter(|text| !text.contains("\"history\"")) {
            assert!(!text.contains("SECRET"), "{text}");
            masks += text.matches(masked).count();
        }
    }
    assert!(masks >= 3, "{masks}");
}

#[test]
fn add_takes_commits_of_repositories() {
    needs!(Tool("git"));
    for user in User::all() {
        let place = Place::new(user);
        let server = GitServer::start(place.path());
        let commit = server.commit(&[("f", "one"), ("sub/g", "two"), (".dockerignore", "*")]);
        server.git(&["tag", "v1"]);
        server.commit(&[("f", "newer")]);
        let url = server.url();
        place.dockerfile(&format!(
            "FROM scratch\nADD {url}#v1 /all\nADD {url}?branch=main&subdir=sub /sub/\n"
        ));
        let image = place.image(&[]);
        assert_eq!(
            image.lines(0),
            [
                "dir 755 0:0 all",
                "dir 755 0:0 all/sub",
                "file 644 0:0 all/.dockerignore",
                "file 644 0:0 all/f",
                "file 644 0:0 all/sub/g",
            ]
        );
        assert_eq!((image.text("all/f"), image.text("sub/g")), ("one".into(), "two".into()));
        assert_eq!(place.build(&[]).ok().steps(), "2 cached, 0 done");
        let add = |line: &str| place.dockerfile(&format!("FROM scratch\nADD {line} /r\n"));
        add(&format!("--keep-git-dir --checksum={} {url}#v1", &commit[..12]));
        assert_eq!(place.image(&[]).text("r/.git/HEAD"), commit);
        add(&format!("--checksum={} {url}#main", &commit[..12]));
        place.build(&[]).fails(1, &["commit mismatch", "Dockerfile:2"]);
        add(&format!("{url}#none"));
        place.build(&[]).fails(1, &["no branch, tag or commit \"none\""]);
        add(&format!("{url}#--upload-pack=touch"));
        place.build(&[]).fails(1, &["invalid git reference"]);
    }
}

#[test]
fn contexts_are_repositories() {
    needs!(Tool("git"));
    let place = Place::new(User::Me);
    let server = GitServer::start(place.path());
    let text = "FROM scratch\nCOPY . /\n";
    server.commit(&[
        ("Dockerfile", text),
        (".dockerignore", "f"),
        ("f", "top"),
        ("sub/Other", "FROM scratch\nCOPY --from=more f /m\n"),
        ("sub/f", "inner"),
    ]);
    std::os::unix::fs::symlink("/etc/passwd", server.folder.join("Escape")).unwrap();
    server.commit(&[]);
    let url = server.url();
    // The ignore file of a repository has no effect.
    assert_eq!(image(&place, &[&url], b"").text("f"), "top");
    let more = format!("more={url}#main:sub");
    let found =
        image(&place, &["-f", "Other", "--build-context", &more, &format!("{url}#:sub")], b"");
    assert_eq!(found.text("m"), "inner");
    let keep = ["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", &url];
    assert!(image(&place, &keep, b"").files().contains_key(".git/HEAD"));
    run(&place, &["-f", "Escape", &url], b"").fails(1, &["Escape"]);
    // A context that no step uses is not fetched.
    let unused = ["--build-context", "x=git://127.0.0.1:1/none.git", &url];
    image(&place, &unused, b"");
}

#[test]
fn contexts_have_a_time() {
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=context"];
    let place = Place::new(User::Me);
    let created = |image: &Image| image.config["created"].as_str().unwrap().to_owned();
    let server = FileServer::start();
    let text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL epoch=$SOURCE_DATE_EPOCH\nCOPY . /\n";
    server.put("/Dockerfile", "\"1\"", DATE, text);
    server.put("/c.tar", "\"2\"", DATE, tar(&[("Dockerfile", text)]));
    for name in ["/Dockerfile", "/c.tar"] {
        let found = image(&place, &[&epoch[..], &[&server.url(name)]].concat(), b"");
        assert_eq!(created(&found), "1994-11-06T08:49:37Z");
        assert_eq!(found.config["config"]["Labels"]["epoch"], "784111777");
    }
    place.dockerfile(&format!("ARG SOURCE_DATE_EPOCH=context\n{text}"));
    let context = place.context().display().to_string();
    for args in [&epoch[..], &[]] {
        let finished = run(&place, &[args, &[&context]].concat(), b"").ok();
        assert!(finished.stderr.contains("SOURCE_DATE_EPOCH=context has no effect"));
    }
    // So have stages that are one ADD, and named contexts.
    let (file, named) = (server.url("/c.tar"), ["--build-arg", "SOURCE_DATE_EPOCH=source"]);
    place.dockerfile(&format!("FROM scratch AS source\nADD {file} /\n{text}"));
    let found = image(&place, &[&named[..], &[&context]].concat(), b"");
    assert_eq!(found.config["config"]["Labels"]["epoch"], "784111777");
    place.dockerfile(text);
    let more = format!("source={file}");
    let found = image(&place, &[&named[..], &["--build-context", &more, &context]].concat(), b"");
    assert_eq!(created(&found), "1994-11-06T08:49:37Z");
    run(&place, &[&named[..], &[&context]].concat(), b"").fails(1, &["SOURCE_DATE_EPOCH"]);
    if Need::Tool("git").is_met() {
        let server = GitServer::start(place.path());
        server.commit(&[("sub/Dockerfile", text)]);
        let url = format!("{}#:sub", server.url());
        for _ in 0..2 {
            let found = image(&place, &[&epoch[..], &[&url]].concat(), b"");
            assert_eq!(created(&found), "2001-09-09T01:46:40Z");
        }
    }
}

#[test]
fn contexts_come_from_standard_input() {
    let dockerfile = "FROM scratch\nCOPY f /\n";
    let archive = tar(&[("Dockerfile", dockerfile), ("f", "text"), (".dockerignore", "f")]);
    for user in User::all() {
        let place = Place::new(user);
        for bytes in [archive.clone(), gzip(&archive)] {
            let found = image(&place, &["-"], &bytes);
            assert_eq!(found.lines(0), ["file 644 0:0 f"]);
        }
        fs::write(place.path().join("c.tar"), &archive).unwrap();
        assert_eq!(image(&place, &["c.tar"], b"").text("f"), "text");
        // A Dockerfile alone comes with an empty context.
        let heredoc = b"FROM scratch\nCOPY <<x /x\ny\nx\n";
        assert_eq!(image(&place, &["-"], heredoc).text("x"), "y");
        run(&place, &["-"], dockerfile.as_bytes()).fails(1, &["not found"]);
        place.write("f", "local").dockerfile("FROM nothing\n");
        let context = place.context().display().to_string();
        assert_eq!(image(&place, &["-f", "-", &context], dockerfile.as_bytes()).text("f"), "local");
        run(&place, &["-f", "-", "-"], b"").fails(2, &["cannot be both"]);
        run(&place, &["-f", "x", "-"], heredoc).fails(2, &["cannot be in it"]);
        run(&place, &["-"], b"").fails(1, &["is empty"]);
        run(&place, &["-"], &archive[..1000]).fails(1, &["standard input"]);
        // No temporary file is left.
        let left = fs::read_dir(place.store().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }
}

#[test]
fn contexts_come_from_urls() {
    let server = FileServer::start();
    let place = Place::new(User::Me);
    let archive = tar(&[("Dockerfile", "FROM scratch\nCOPY f /\n"), ("f", "text")]);
    server.put("/c.tar.gz", "\"1\"", DATE, gzip(&archive));
    server.put("/Dockerfile", "\"2\"", DATE, "FROM scratch\nCOPY . /\n");
    let (tar, file) = (server.url("/c.tar.gz"), server.url("/Dockerfile"));
    assert_eq!(image(&place, &[&tar], b"").text("f"), "text");
    // The context of a Dockerfile's URL has that file only. Any file may be a named context.
    assert_eq!(image(&place, &[&file], b"").lines(0), ["file 600 0:0 context"]);
    place.write("f", "local").write(".dockerignore", "ignored").write("ignored", "");
    let context = place.context().display().to_string();
    let found = image(&place, &["-f", &file, &context], b"");
    assert_eq!(found.files().keys().collect::<Vec<_>>(), [".dockerignore", "f"]);
    place.dockerfile("FROM scratch\nCOPY --from=it context /x\n");
    let named = format!("it={tar}");
    let found = image(&place, &["--build-context", &named, &context], b"");
    assert_eq!(found.entry("x").content[..], gzip(&archive));
    run(&place, &[&server.url("/none")], b"").fails(4, &["answered 404"]);
    run(&place, &["ftp://h.example/x"], b"").fails(2, &["ftp:// is not supported"]);
}

#[test]
fn a_locked_commit_stays_when_its_branch_moves() {
    needs!(Tool("git"));
    let place = Place::new(User::Me);
    let server = GitServer::start(place.path());
    let first = server.commit(&[("Dockerfile", "FROM scratch\nCOPY f /\n"), ("f", "one")]);
    let url = format!("{}#main", server.url());
    let lock = place.out("x.lock");
    let file = ["--lock-file", lock.to_str().unwrap()];
    place.run([&["lock"], &file[..], &[&url]].concat()).ok();
    let text = fs::read_to_string(&lock).unwrap();
    assert!(text.contains(&format!("{url:?}: {first:?}")), "{text}");
    server.commit(&[("f", "two")]);
    assert_eq!(image(&place, &[&["--locked"], &file[..], &[&url]].concat(), b"").text("f"), "one");
    assert_eq!(image(&place, &[&url], b"").text("f"), "two");
    let other = format!("{}#other", server.url());
    let refused = place.run([&["build", "--locked"], &file[..], &[&other]].concat());
    refused.fails(1, &["#other is not in the lock file"]);
}

#[test]
fn bake_files_come_from_repositories_and_web_servers() {
    needs!(Tool("git"));
    let place = Place::new(User::Me);
    let server = GitServer::start(place.path());
    let bake = r#"
        target "default" { output = ["type=local,dest=out/default"] }
        target "sub" {
          context = "sub"
          contexts = { whole = ".", here = "cwd://" }
          output = ["type=local,dest=out/sub"]
        }
    "#;
    let sub = "FROM scratch\nCOPY f /\nCOPY --from=whole top /\nCOPY --from=here mine /\n";
    let commit = server.commit(&[
        ("docker-bake.hcl", bake),
        ("Dockerfile", "FROM scratch\nCOPY top /\n"),
        ("top", "top"),
        ("sub/Dockerfile", sub),
        ("sub/f", "f"),
    ]);
    server.commit(&[("top", "later")]);
    place.write("mine", "mine");
    let run = |args: &[&str]| {
        let mut command = place.xbuild(["bake", "--progress", "plain"]);
        command.args(args).current_dir(place.context());
        Finished::run(command)
    };
    let text = |name: &str| fs::read_to_string(place.context().join("out").join(name)).unwrap();
    let url = format!("{}#{commit}", server.url());
    let printed = run(&[&url, "--print"]).ok().stdout;
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["target"]["default"]["context"], url);
    run(&[&url, "default", "sub"]).ok();
    assert_eq!(text("default/top"), "top");
    assert_eq!(["f", "top", "mine"].map(|name| text(&format!("sub/{name}"))), ["f", "top", "mine"]);
    // A folder of the repository is one of its folder, and names of files are looked up in it.
    run(&[&format!("{url}:sub"), "-f", "docker-bake.hcl"]).fails(1, &["docker-bake.hcl is not in"]);
    run(&[&url, "-f", "../outside.hcl"]).fails(1, &["outside.hcl"]);
    run(&["ftp://127.0.0.1/x"]).fails(2, &["ftp"]);

    // A single file is the definition alone: its contexts are here.
    let web = FileServer::start();
    let file = "target \"default\" {\n dockerfile-inline = \"FROM scratch\\nCOPY mine /\\n\"\n \
                output = [\"type=local,dest=out/web\"]\n}\n";
    web.put("/bake.hcl", "\"1\"", DATE, file);
    web.put(
        "/bake.tar",
        "\"2\"",
        DATE,
        tar(&[
            ("docker-bake.hcl", bake),
            ("top", "t"),
            ("Dockerfile", "FROM scratch\nCOPY top /\n"),
        ]),
    );
    run(&[&web.url("/bake.hcl")]).ok();
    assert_eq!(text("web/mine"), "mine");
    run(&[&web.url("/bake.tar")]).ok();
    assert_eq!(text("default/top"), "t");
    run(&[&web.url("/bake.tar"), "sub"]).fails(1, &["target sub:", "not implemented"]);
}

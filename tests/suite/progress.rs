//! What a build leaves to read: its last lines, its log, lines for programs, and its timeline.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use serde_json::Value;

use crate::harness::{Finished, Place, Registry, User, needs, to_layout, tool};

const DOCKERFILE: &str = r"
    FROM busybox AS base
    COPY f /f
    RUN printf '10%%\r20%%\rdone\n' && echo a '<b>' && sleep 0.3
    FROM scratch
    COPY --from=base /f /f
    ";

#[test]
fn the_end_of_a_build_has_time_sizes_and_the_next_command() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.write("f", "f").dockerfile("FROM busybox\nCOPY f /f\nRUN sleep 0.3\n");
    let layout = place.out("layout").display().to_string();
    let output = format!("type=oci,tar=false,dest={layout}");
    let archive = place.out("a.tar").display().to_string();
    let args = ["--output", &output, "--output", &format!("type=docker,dest={archive}")];
    let built = place.build(&args).ok();
    built.says(&["built in ", ", 0 of 2 steps cached", "s  [3/3] RUN sleep 0.3"]);
    built.says(&["new on the base ", " in 2 layers"]);
    let next = format!("{layout}: `xbuild run oci-layout://{layout}`");
    built.says(&[&next, &format!("{archive}: `xbuild load --input {archive}`")]);
    place.run(["load", "--input", &archive]).ok();
    place.run(["run", &format!("oci-layout://{layout}"), "cat", "/f"]).ok().prints(&["f"]);
    let named = place.build(&["-t", "app:1"]).ok();
    named.says(&["2 of 2 steps cached", "app:1 is in the store: `xbuild run "]);
    named.does_not_say("s  [");
}

#[test]
fn a_log_has_everything_however_progress_is_shown() {
    needs!(Run);
    for mode in ["plain", "quiet", "rawjson"] {
        let place = Place::new(User::Me);
        place.write("f", "f").dockerfile(DOCKERFILE);
        let log = place.out("log").display().to_string();
        let base = place.base("busybox");
        let context = place.context().display().to_string();
        let args = ["build", "--progress", mode, "--log-file", &log, "--build-context", &base];
        let args = [&args[..], &["-t", "app:1", &context]].concat();
        place.run(args).ok();
        let text = fs::read_to_string(&log).unwrap();
        let has = |line: &str| text.lines().any(|other| other.ends_with(line));
        assert!(text.contains(" WHY first time"), "{mode}: {text}");
        for line in [" 10%", " 20%", " done", " a <b>"] {
            assert!(has(line), "{mode}: {line}: {text}");
        }
        assert!(text.contains("sha256:") && !text.contains('\u{1b}'), "{mode}: {text}");
        place.dockerfile("FROM busybox\nRUN echo last && exit 7\n");
        let failed = place.build(&["--log-file", &log]).fails(3, &["exit code 7"]);
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains(" last\n") && text.contains("error: [2/2] RUN"), "{mode}: {text}");
        failed.says(&[" last\n"]);
    }
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    place.build(&["--log-file", "/none/such"]).fails(1, &["/none/such"]);
}

/// Returns the objects that a build with `--progress rawjson` wrote.
fn objects(place: &Place, status: i32, more: &[&str]) -> (Vec<Value>, String) {
    let base = place.base("busybox");
    let args = [&["build", "--progress", "rawjson", "--build-context", &base], more].concat();
    let finished: Finished = place.run([&args[..], &[place.context().to_str().unwrap()]].concat());
    assert_eq!(finished.status, status, "{}", finished.stderr);
    let (json, rest): (Vec<&str>, Vec<&str>) =
        finished.stderr.lines().partition(|line| line.starts_with('{'));
    let json = json.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    (json, rest.join("\n"))
}

/// Returns all elements of the lists of that name.
fn all<'a>(objects: &'a [Value], list: &str) -> Vec<&'a Value> {
    objects.iter().filter_map(|object| object[list].as_array()).flatten().collect()
}

fn decoded(value: &Value) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap());
    String::from_utf8(bytes.unwrap()).unwrap()
}

#[test]
fn programs_get_what_buildkit_writes() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.write("f", "f").dockerfile(&DOCKERFILE.replace("AS base", "as base"));
    let (first, rest) = objects(&place, 0, &["-t", "app:1"]);
    assert_eq!(rest, "");
    let vertexes = all(&first, "vertexes");
    let of = |name: &str| -> Vec<&&Value> {
        vertexes.iter().filter(|v| v["name"].as_str().unwrap().contains(name)).collect()
    };
    // Announced, started, completed; the inputs are vertices.
    let run = of("RUN printf");
    assert_eq!(run.len(), 3, "{run:#?}");
    assert!(run[0].get("started").is_none() && run[1]["started"].is_string());
    assert!(run[2]["completed"].as_str() > run[1]["started"].as_str(), "{run:#?}");
    let input = &run[0]["inputs"][0];
    assert!(vertexes.iter().any(|v| v["digest"] == *input), "{vertexes:#?}");
    let logs: String = all(&first, "logs")
        .iter()
        .filter(|log| log["vertex"] == run[0]["digest"])
        .map(|log| decoded(&log["data"]))
        .collect();
    assert_eq!(logs, "10%\n20%\ndone\na <b>\n");
    let warnings: Vec<String> =
        all(&first, "warnings").iter().map(|warning| decoded(&warning["short"])).collect();
    assert!(warnings.iter().any(|text| text.starts_with("FromAsCasing: ")), "{warnings:?}");
    assert!(all(&first, "warnings")[0]["range"][0]["start"]["line"].is_u64());
    // Everything that began has ended.
    let mut open: Vec<&str> = Vec::new();
    for vertex in &vertexes {
        let digest = vertex["digest"].as_str().unwrap();
        open.retain(|other| *other != digest);
        if vertex.get("completed").is_none() {
            open.push(digest);
        }
    }
    assert_eq!(open, [""; 0]);

    let (second, _) = objects(&place, 0, &["-t", "app:1"]);
    let cached = all(&second, "vertexes").iter().filter(|v| v["cached"] == true).count();
    assert_eq!(cached, 3);

    place.dockerfile("FROM busybox\nRUN exit 7\n");
    let (failed, rest) = objects(&place, 3, &[]);
    let errors: Vec<&str> =
        all(&failed, "vertexes").iter().filter_map(|v| v["error"].as_str()).collect();
    assert!(matches!(errors[..], [error] if error.contains("exit code 7")), "{errors:?}");
    assert!(rest.starts_with("error: [2/2] RUN exit 7"), "{rest}");
}

#[test]
fn programs_see_the_bytes_of_transfers() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    registry.push_busybox("app/busybox", &[]);
    let place = Place::new(User::Me);
    place.dockerfile(&format!("FROM {}/app/busybox\nCOPY Dockerfile /bin/\n", registry.host));
    let tag = format!("{}/app/other:1", registry.host);
    let (objects, _) = objects(&place, 0, &["-t", &tag, "--push"]);
    let statuses = all(&objects, "statuses");
    for name in ["pull", "push"] {
        let of =
            statuses.iter().filter(|status| status["name"].as_str().unwrap().starts_with(name));
        let ended: Vec<_> = of.filter(|status| status["completed"].is_string()).collect();
        assert!(!ended.is_empty(), "{statuses:#?}");
        for status in ended.iter().filter(|status| status.get("total").is_some()) {
            assert_eq!(status["current"], status["total"], "{status}");
        }
    }
}

/// A script that writes down where the parts of a page are, as JSON in the title.
const MEASURE: &str = r"<script>
    const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.top, r.bottom]; };
    const row = e => ({ label: e.querySelector('.label').textContent, text: e.querySelector('.text').textContent,
        place: box(e.querySelector('.bars')),
        bars: [...e.querySelectorAll('i')].map(b => ({ kind: b.className, place: box(b) })) });
    const lanes = [...document.querySelectorAll('.lane')].map(e =>
        ({ name: e.querySelector('h2').textContent, rows: [...e.querySelectorAll('.row')].map(row) }));
    document.title = JSON.stringify({ lanes, wide: document.documentElement.scrollWidth - innerWidth });
    </script>";

#[test]
fn a_timeline_is_seen_in_a_browser() {
    needs!(Run, Tool("chromium-headless-shell"));
    let place = Place::new(User::Me);
    place.write("f", "f").dockerfile(DOCKERFILE);
    let page = place.out("timeline.html");
    let (file, platforms) = (page.to_str().unwrap(), "linux/amd64");
    place.dockerfile(&DOCKERFILE.replace("COPY --from=base", "COPY f /g\n    COPY --from=base"));
    let layout = to_layout(&place.out("image"));
    place.build(&["--timeline", file, "--platform", platforms, "--output", &layout]).ok();
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains("<script") && !text.contains("http"), "{text}");
    let browse = |args: &[&str], page: &Path| {
        let url = format!("file://{}", page.display());
        let home = format!("--user-data-dir={}", place.out("browser").display());
        let fixed = ["--headless", "--no-sandbox", "--disable-gpu", &home];
        tool("chromium-headless-shell", [&fixed[..], args, &[&url]].concat())
    };
    let measured = place.out("measured.html");
    fs::write(&measured, text.replace("</body>", &format!("{MEASURE}</body>"))).unwrap();
    for width in [1200, 700] {
        let size = format!("--window-size={width},800");
        let dom = browse(&[&size, "--dump-dom"], &measured);
        let title = dom.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
        let title = title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        check(&serde_json::from_str(&title).unwrap());
    }
    let shot = place.out("shot.png");
    let to = format!("--screenshot={}", shot.display());
    browse(&["--window-size=1200,800", &to], &page);
    let (blue, size) = pixels(&fs::read(&shot).unwrap(), [0x2a, 0x7a, 0xde]);
    assert_eq!(size, (1200, 800));
    assert!(blue > 1000, "{blue} pixels of bars");
}

/// Checks what a browser measured.
fn check(seen: &Value) {
    assert_eq!(seen["wide"], 0, "the page is wider than the window");
    let lanes = seen["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 1, "{seen:#}");
    assert_eq!(lanes[0]["name"], "linux/amd64");
    let rows = lanes[0]["rows"].as_array().unwrap();
    let place = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
    };
    for row in rows {
        let around = place(&row["place"]);
        assert!(around[1] - around[0] > 100.0, "{row}");
        for bar in row["bars"].as_array().unwrap() {
            let bar = place(&bar["place"]);
            let is_inside = bar[0] >= around[0] - 1.0 && bar[1] <= around[1] + 1.0;
            assert!(is_inside && bar[1] > bar[0] && bar[2] >= around[2] - 1.0, "{row}");
        }
    }
    let row = |text: &str| {
        let found = rows.iter().find(|row| row["label"].as_str().unwrap().contains(text));
        found.unwrap_or_else(|| panic!("no {text} in {seen:#}"))
    };
    let kinds = |text: &str| -> Vec<String> {
        let bars = row(text)["bars"].as_array().unwrap();
        bars.iter().map(|bar| bar["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert!(kinds("RUN printf").contains(&"done".to_owned()), "{seen:#}");
    assert!(row("RUN printf")["label"].as_str().unwrap().contains("<b>"));
    // The step that slept has the longest bar.
    let width = |row: &Value| -> f64 {
        let bars = row["bars"].as_array().unwrap().iter().map(|bar| place(&bar["place"]));
        bars.map(|bar| bar[1] - bar[0]).sum()
    };
    let longest = width(row("RUN printf"));
    assert!(rows.iter().all(|row| width(row) <= longest), "{seen:#}");
    assert!(row("COPY f /g")["text"].as_str().unwrap().contains(" B"), "{seen:#}");
}

/// Returns how many pixels of an image have a colour, and the size of the image: PNG with 8 bits for
/// each of three or four colours, not interlaced.
///
/// **Source** — PNG (third edition), § 5, 7 and 9.
fn pixels(png: &[u8], colour: [u8; 3]) -> (usize, (usize, usize)) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let (width, height) = (number(16), number(20));
    let bytes = match png[25] {
        2 => 3,
        6 => 4,
        other => panic!("kind {other}"),
    };
    let (mut data, mut at) = (Vec::new(), 8);
    while at + 8 < png.len() {
        let length = number(at);
        if &png[at + 4..at + 8] == b"IDAT" {
            data.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut lines = Vec::new();
    flate2::read::ZlibDecoder::new(&data[..]).read_to_end(&mut lines).unwrap();
    let mut above = vec![0_u8; width * bytes];
    let mut count = 0;
    for line in lines.chunks(1 + width * bytes) {
        let (filter, mut line) = (line[0], line[1..].to_vec());
        for at in 0..line.len() {
            let left = if at >= bytes { line[at - bytes] } else { 0 };
            let corner = if at >= bytes { above[at - bytes] } else { 0 };
            let more = match filter {
                0 => 0,
                1 => left,
                2 => above[at],
                3 => ((u16::from(left) + u16::from(above[at])) / 2) as u8,
                _ => paeth(left, above[at], corner),
            };
            line[at] = line[at].wrapping_add(more);
        }
        count += line.chunks(bytes).filter(|pixel| pixel[..3] == colour).count();
        above = line;
    }
    (count, (width, height))
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, above, corner].map(i32::from);
    let by = |value: i32| (a + b - c - value).abs();
    match () {
        () if by(a) <= by(b) && by(a) <= by(c) => left,
        () if by(b) <= by(c) => above,
        () => corner,
    }
}

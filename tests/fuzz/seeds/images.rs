//! Documents of images, names of images and sources, and what registries answer.

use xbuild_model::manifest::OCI_LAYER;
use xbuild_model::{Chain, Descriptor, DiffId, Digest, StepRecord};
use xbuild_store::{ImageRecord, SelectionRecord, SourceRecord};
use xbuild_testkit::images::Images;

use crate::{Fallible, Folder};

/// Texts that name a repository, a file, an image or a platform.
const NAMES: [&str; 12] = [
    "https://user:secret@host.example/a/b.git#refs/heads/main:docs",
    "https://host.example/r.git?tag=v1&subdir=a/b&checksum=0123abc&keep-git-dir=1",
    "git@host.example:team/r.git?branch=x&submodules=false#",
    "ssh://git@host.example:22/r.git#0123456789012345678901234567890123456789",
    "git://[::1]:9418/r#pull/1/head",
    "github.com/team/r#v1:x",
    "http://host.example/dir/file%20name.tar.gz?x=1&y=%00",
    "HTTPS://host.example",
    "registry.example:5000/team/name:tag@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "busybox",
    "linux/arm/v7",
    "windows(10.0)/amd64",
];

/// Answers of registries and of servers for tokens.
const ANSWERS: [&str; 7] = [
    "200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://ORIGIN/token\",service=\"s\"\r\n\r\n",
    "200 OK\r\ncontent-type: application/json\r\n\r\n{\"token\":\"t\",\"expires_in\":60}",
    "307 Temporary Redirect\r\nlocation: http://ORIGIN/v2/elsewhere?a=b\r\n\r\n",
    "206 Partial Content\r\ncontent-range: bytes 3-99/100\r\ncontent-length: 97\r\n\r\nabc",
    "429 Too Many\r\nretry-after: 1\r\n\r\n{\"errors\":[{\"code\":\"TOOMANY\",\"message\":\"slow\"}]}",
    "202 Accepted\r\nlocation: /v2/name/blobs/uploads/1?_state=x\r\nrange: 0-99\r\n\r\n",
];

/// Writes the seeds of the targets that read documents, names, records and answers.
pub(super) fn write(folder: &Folder) -> Fallible {
    for (number, name) in NAMES.iter().enumerate() {
        folder.put("names", &number.to_string(), name.as_bytes())?;
    }
    for (number, platforms) in
        [&["linux/arm64"][..], &["linux/amd64", "linux/arm64"]].iter().enumerate()
    {
        let images = Images::new(platforms, &[b"shared"]);
        let image = &images.assembled.images[platforms.len() - 1];
        let (root, bytes) = images.assembled.root();
        let parts = [root.media_type.as_bytes(), bytes, &image.manifest, &image.config];
        folder.put("documents", &number.to_string(), &parts.join(&0))?;
        let answers = parts[1..].iter().map(|document| {
            let head = format!("200 OK\r\ncontent-length: {}\r\n\r\n", document.len());
            [head.as_bytes(), document].concat()
        });
        let answers: Vec<Vec<u8>> = answers.collect();
        folder.put(
            "registry",
            &format!("image-{number}"),
            &[b"\0", &*answers.join(&0)].concat(),
        )?;
    }
    for what in 0..4_u8 {
        for (number, answer) in ANSWERS.iter().enumerate() {
            let all = [answer, ANSWERS[1], ANSWERS[2], ANSWERS[6], "201 Created\r\n\r\n"];
            let input = [&[what][..], all.join("\0").as_bytes()].concat();
            folder.put("registry", &format!("{what}-{number}"), &input)?;
        }
    }
    records(folder)
}

fn records(folder: &Folder) -> Fallible {
    let digest = Digest::of(b"");
    let layer = Descriptor::of(OCI_LAYER, b"");
    let step = StepRecord {
        added: Chain(vec![DiffId(digest.clone())]),
        created: "2026-01-01T00:00:00Z".to_owned(),
        description: "RUN true".to_owned(),
    };
    let selection = SelectionRecord { survey: digest.clone(), content: digest.clone() };
    let image = ImageRecord::new("name".to_owned(), layer.clone());
    let source = SourceRecord {
        folder: digest.clone(),
        etag: Some("\"x\"".to_owned()),
        last_modified: None,
        settled: true,
        url: Some(digest),
        query: None,
    };
    let records = [
        serde_json::to_vec(&step)?,
        serde_json::to_vec(&selection)?,
        serde_json::to_vec(&image)?,
        serde_json::to_vec(&source)?,
        serde_json::to_vec(&layer)?,
    ];
    for (way, record) in (0_u8..).zip(records) {
        folder.put("records", &way.to_string(), &[&[way][..], &record].concat())?;
    }
    Ok(())
}

//! Reads an OCI layout that a build made, and verifies each size, digest and diff ID on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{is_root, tool};

/// The image of one platform.
#[derive(Debug)]
pub(crate) struct Image {
    /// `os/architecture[/variant]`, as the configuration says.
    pub(crate) platform: String,
    /// The digest of the manifest.
    pub(crate) digest: String,
    pub(crate) config: Value,
    pub(crate) manifest: Value,
    /// Oldest first.
    pub(crate) layers: Vec<Vec<Entry>>,
}

/// A file in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// A path without slashes at its ends; empty for the root folder.
    pub(crate) path: String,
    /// `file`, `dir`, `symlink`, `link`, `fifo`, `char`, `block` or `other`.
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    /// The target of a symbolic or hard link, or the numbers of a device.
    pub(crate) link: String,
    pub(crate) content: Arc<[u8]>,
}

impl Entry {
    /// Returns the entry as a line for comparing: `KIND MODE UID:GID PATH[ -> LINK]`.
    pub(crate) fn line(&self) -> String {
        let arrow = if self.link.is_empty() { "" } else { " -> " };
        let Self { path, kind, mode, owner: (uid, gid), link, .. } = self;
        format!("{kind} {mode:o} {uid}:{gid} {path}{arrow}{link}")
    }

    fn is_whiteout(&self) -> bool {
        self.path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh."))
    }
}

impl Image {
    /// Returns the entries of a layer, in order. A negative number counts from the last layer.
    pub(crate) fn layer(&self, number: isize) -> &[Entry] {
        let number = if number < 0 { self.layers.len() as isize + number } else { number };
        &self.layers[number as usize]
    }

    /// Returns the lines of a layer, in byte order.
    pub(crate) fn lines(&self, number: isize) -> Vec<String> {
        let mut lines: Vec<String> = self.layer(number).iter().map(Entry::line).collect();
        lines.sort();
        lines
    }

    /// Returns the files that all layers together show, by path.
    ///
    /// **Source** — OCI image-spec, `layer.md` § Whiteouts.
    pub(crate) fn files(&self) -> BTreeMap<String, Entry> {
        let mut files: BTreeMap<String, Entry> = BTreeMap::new();
        for layer in &self.layers {
            for entry in layer {
                let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
                let Some(gone) = name.strip_prefix(".wh.") else { continue };
                let parent = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                match gone {
                    ".wh..opq" => files.retain(|path, _| !path.starts_with(&parent)),
                    _ => remove(&mut files, &format!("{parent}{gone}")),
                }
            }
            for entry in layer.iter().filter(|entry| !entry.is_whiteout()) {
                let old = files.get(&entry.path).map(|old| old.kind);
                if old != Some("dir") || entry.kind != "dir" {
                    remove(&mut files, &entry.path);
                }
                files.insert(entry.path.clone(), entry.clone());
            }
        }
        files
    }

    /// Returns the newest entry with that path, even if a whiteout hides it.
    #[track_caller]
    pub(crate) fn entry(&self, path: &str) -> &Entry {
        let mut entries = self.layers.iter().rev().flatten();
        entries.find(|entry| entry.path == path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// Returns the text of the newest file with that path, without the final newline.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        str::from_utf8(&self.entry(path).content).unwrap().trim_end().to_owned()
    }
}

/// Reads an OCI layout that holds one image or one image index; images in the order of the index.
#[track_caller]
pub(crate) fn read(layout: &Path) -> Vec<Image> {
    let version = fs::read_to_string(layout.join("oci-layout")).unwrap();
    assert!(version.contains("1.0.0"), "{version}");
    let top: Value = json(&fs::read(layout.join("index.json")).unwrap());
    let digests: Vec<&Value> = top["manifests"].as_array().unwrap().iter().collect();
    assert!(digests.iter().all(|d| d["digest"] == digests[0]["digest"]), "one image: {top}");
    if digests[0]["mediaType"] == "application/vnd.oci.image.index.v1+json" {
        let index = json(&blob(layout, digests[0]));
        assert_eq!(index["mediaType"], digests[0]["mediaType"]);
        let list = index["manifests"].as_array().unwrap().iter();
        return list
            .map(|descriptor| {
                let image = read_image(layout, descriptor);
                assert_eq!(platform(&descriptor["platform"]), image.platform);
                image
            })
            .collect();
    }
    vec![read_image(layout, digests[0])]
}

fn read_image(layout: &Path, descriptor: &Value) -> Image {
    assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let manifest = json(&blob(layout, descriptor));
    assert_eq!(manifest["mediaType"], descriptor["mediaType"]);
    let config = json(&blob(layout, &manifest["config"]));
    let layers = manifest["layers"].as_array().unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), diff_ids.len());
    let filled = |entry: &&Value| entry["empty_layer"] != true;
    let history = config["history"].as_array().unwrap().iter().filter(filled).count();
    assert_eq!(history, layers.len(), "{config}");
    Image {
        platform: platform(&config),
        digest: descriptor["digest"].as_str().unwrap().to_owned(),
        layers: layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, id)| read_layer(layout, layer, id))
            .collect(),
        config,
        manifest,
    }
}

fn read_layer(layout: &Path, descriptor: &Value, diff_id: &Value) -> Vec<Entry> {
    let (blob, mut tar) = (blob(layout, descriptor), Vec::new());
    let kind = descriptor["mediaType"].as_str().unwrap();
    let kind_of_tar = kind.replace("nondistributable.v1.", "v1.");
    match kind_of_tar.strip_prefix("application/vnd.oci.image.layer.v1.") {
        Some("tar+gzip") => MultiGzDecoder::new(&*blob).read_to_end(&mut tar).map(drop).unwrap(),
        Some("tar+zstd") => tar = zstd::stream::decode_all(&*blob).unwrap(),
        Some("tar") => tar = blob,
        _ => panic!("{kind} is no layer"),
    }
    assert_eq!(&digest(&tar), diff_id.as_str().unwrap());
    entries(&tar)
}

/// Returns the entries of a tar archive, in its order.
pub(crate) fn entries(tar: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(tar);
    archive.entries().unwrap().map(|entry| read_entry(entry.unwrap())).collect()
}

fn read_entry(mut entry: tar::Entry<'_, &[u8]>) -> Entry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = text(&entry.path_bytes());
    let mut link = entry.link_name_bytes().map(|link| text(&link)).unwrap_or_default();
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Regular => "file",
        tar::EntryType::Directory => "dir",
        tar::EntryType::Symlink => "symlink",
        tar::EntryType::Link => "link",
        tar::EntryType::Fifo => "fifo",
        tar::EntryType::Char => "char",
        tar::EntryType::Block => "block",
        _ => "other",
    };
    if matches!(kind, "char" | "block") {
        let number = |number: std::io::Result<Option<u32>>| number.unwrap().unwrap();
        link = format!("{}:{}", number(header.device_major()), number(header.device_minor()));
    }
    let (mode, owner) = (header.mode().unwrap(), (header.uid().unwrap(), header.gid().unwrap()));
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let path = path.trim_start_matches("./").trim_matches('/');
    let path = if path == "." { String::new() } else { path.to_owned() };
    Entry { path, kind, mode: mode & 0o7777, owner, link, content: content.into() }
}

fn remove(files: &mut BTreeMap<String, Entry>, gone: &str) {
    files.remove(gone);
    // All that begins with `gone/` stands in one row; the next character is a zero.
    let below = files.range(format!("{gone}/")..format!("{gone}0"));
    for path in below.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
        files.remove(&path);
    }
}

fn platform(value: &Value) -> String {
    let parts =
        ["os", "architecture", "variant"].map(|key| value[key].as_str().unwrap_or_default());
    parts.join("/").trim_end_matches('/').to_owned()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Returns the `sha256:` digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let named = descriptor["digest"].as_str().unwrap();
    let bytes = fs::read(layout.join("blobs").join(named.replace(':', "/"))).unwrap();
    assert_eq!(digest(&bytes), named);
    assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap(), "{named}");
    bytes
}

/// Copies the image of one platform with skopeo, which verifies every digest, from `source`
/// (`docker://..` or `oci:..`) into the new OCI layout `to`, and unpacks it with umoci.
#[track_caller]
pub(crate) fn accepted_by_others(source: &str, platform: &str, to: &Path) -> Image {
    let mut parts = platform.split('/').skip(1);
    let mut args = vec!["--insecure-policy", "--override-os", "linux"];
    args.extend(["--override-arch", parts.next().unwrap()]);
    args.extend(parts.next().into_iter().flat_map(|variant| ["--override-variant", variant]));
    args.extend(["copy", "--quiet", "--src-tls-verify=false"]);
    let layout = format!("{}:single", to.display());
    let target = format!("oci:{layout}");
    tool("skopeo", args.into_iter().chain([source, &target]));
    let bundle = to.with_extension("bundle");
    let rootless = if is_root() { vec![] } else { vec!["--rootless"] };
    let unpack = ["unpack", "--image", &layout].into_iter().chain(rootless);
    tool("umoci", unpack.map(Into::into).chain([bundle.into_os_string()]));
    let mut images = read(to);
    assert_eq!((images.len(), images[0].platform.as_str()), (1, platform));
    images.remove(0)
}

//! Bills of materials: the files of an image that tell of packages, found in its tree and read from
//! its layers. Nothing is unpacked, and nothing runs.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use humantime::{format_rfc3339_seconds, parse_rfc3339_weak};
use xbuild_attest::sbom::{
    Described, FilePlace, Inventory, MAX_SOURCE, SYSTEM_FILES, Source, System, Unread, source_of,
};
use xbuild_layer::{Kind, Tree};
use xbuild_model::{Digest, StepFailure};
use xbuild_snapshot::Engine;
use xbuild_solve::BuiltImage;

use crate::build::Build;
use crate::layer_files;
use crate::main_context::MainContext;

/// The bytes of files that are kept at a time. Full systems with many lock files have a tenth of it.
const MAX_TEXTS: u64 = 4 * MAX_SOURCE;

/// A file that tells of packages, or of the system.
struct Found {
    path: String,
    /// `None` for the system.
    source: Option<Source>,
    /// The bytes of the file.
    size: u64,
}

/// The files of an image by layer and position in it.
type Wanted = BTreeMap<u32, BTreeMap<u32, Found>>;

/// Returns the packages of an image.
///
/// **Errors** — a layer cannot be read.
pub(crate) fn inventory(engine: &Engine, image: &BuiltImage) -> Result<Inventory, StepFailure> {
    let tree = engine.tree(&image.layers)?;
    let wanted = wanted(&tree);
    let mut texts: Vec<Text<'_>> = Vec::new();
    let mut left = MAX_TEXTS;
    for (number, files) in &wanted {
        let Some(layer) = image.layers.0.get(*number as usize) else { continue };
        layer_files::read(engine, layer, files.keys().copied(), |position, file| {
            let found = &files[&position];
            let fits = found.size <= MAX_SOURCE.min(left);
            let mut bytes = Vec::new();
            if fits {
                left -= found.size;
                file.take(found.size).read_to_end(&mut bytes)?;
            }
            texts.push((found, layer.0.to_string(), fits.then_some(bytes)));
            Ok(())
        })?;
    }
    texts.sort_by(|(one, ..), (other, ..)| one.path.cmp(&other.path));
    let mut inventory = Inventory::new(system(&texts));
    for (found, layer, bytes) in texts {
        let Some(source) = found.source else { continue };
        let read = match bytes {
            Some(bytes) => source.read(&bytes, &inventory.system),
            None => Unread::Large.into(),
        };
        inventory.add(&FilePlace { path: found.path.clone(), layer }, read);
    }
    Ok(inventory)
}

/// A file with the digest of its layer and its bytes, unless it is too large.
type Text<'a> = (&'a Found, String, Option<Vec<u8>>);

/// Returns whether a Dockerfile or a build argument asks for the packages of contexts or of other
/// stages.
pub(crate) fn asks_for_more(build: &Build, main: &MainContext) -> bool {
    const SCAN: &str = "BUILDKIT_SBOM_SCAN_";
    let mut args = build.request.input.build_args.iter();
    let mut files = main.files.iter();
    args.any(|(name, _)| name.starts_with(SCAN)) || files.any(|file| file.source.contains(SCAN))
}

/// Finds the files. Of a file with several names the first counts.
fn wanted(tree: &Tree) -> Wanted {
    let mut wanted = Wanted::new();
    let mut want = |path: String, node: &xbuild_layer::Node, source| {
        if let (Kind::File { size }, Some(position)) = (&node.kind, node.position) {
            let found = Found { path, source, size: *size };
            wanted.entry(node.layer).or_default().entry(position).or_insert(found);
        }
    };
    for (path, node) in tree.walk(b"") {
        if let Ok(path) = String::from_utf8(path)
            && let Some(source) = source_of(&path)
        {
            want(path, node, Some(source));
        }
    }
    for path in SYSTEM_FILES {
        // It is a symbolic link in most images.
        if let Some(node) = tree.resolve(path.as_bytes(), true).ok().and_then(|found| found.node) {
            want((*path).to_owned(), node, None);
        }
    }
    wanted
}

fn system(texts: &[Text<'_>]) -> System {
    let of = |path: &&str| {
        let found = texts.iter().find(|(found, ..)| found.source.is_none() && found.path == *path);
        found.and_then(|(.., bytes)| bytes.as_ref())
    };
    let text = SYSTEM_FILES.iter().find_map(of);
    text.map(|text| System::read(&String::from_utf8_lossy(text))).unwrap_or_default()
}

/// Returns what a document says of an image. Its time is the fixed one, else that of the image, so the
/// document does not change with the time at which it is made.
pub(crate) fn described(image: &BuiltImage, epoch: Option<u64>) -> Described {
    let fixed = epoch.map(|epoch| SystemTime::UNIX_EPOCH + Duration::from_secs(epoch));
    let own = image.config.created.as_deref().and_then(|text| parse_rfc3339_weak(text).ok());
    let layers: Vec<String> = image.layers.0.iter().map(|layer| layer.0.to_string()).collect();
    let identity = format!("{} {}", image.platform, layers.join(" "));
    Described {
        platform: image.platform.to_string(),
        identity: Digest::of(identity.as_bytes()),
        created: format_rfc3339_seconds(fixed.or(own).unwrap_or(SystemTime::UNIX_EPOCH))
            .to_string(),
        creator: format!("xbuild-{}", env!("CARGO_PKG_VERSION")),
    }
}

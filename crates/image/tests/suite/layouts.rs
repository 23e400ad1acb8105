//! OCI layouts, written and read.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci_spec::image::ANNOTATION_REF_NAME;
use xbuild_image::{Layout, LayoutError, NamedContent, ResolveError};
use xbuild_model::seam::Blobs;
use xbuild_model::{
    BlobSource, Descriptor, Digest, ImageLayer, LayerBlob, Platform, Reference, StepFailure,
};
use xbuild_testkit::images::Images;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// An error with all its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn write(images: &Images, path: &Path, names: &[&str]) -> Result<(), LayoutError> {
    let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
    NamedContent { built: &images.built(), names: &names, tag: None }.alone().write_folder(path)
}

/// Reads the first layer of the only image of a layout.
fn read_layer(path: &Path, platform: &Platform) -> Result<Vec<u8>, Box<dyn Error>> {
    let layout = Layout::open(path)?;
    let image = layout.resolve(None, platform)?;
    let mut bytes = Vec::new();
    layout.open_blob(&image.layers[0].descriptor)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn what_is_written_is_valid_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/layout");
    let images = Images::new(&["linux/arm64", "linux/amd64"], &[b"shared"]);
    write(&images, &path, &["r.example/app:1", "r.example/app:2"]).unwrap();
    let layout = Layout::open(&path).unwrap();
    let validated = layout.validate().unwrap();
    assert_eq!(validated.len(), 2);
    assert_eq!(validated[0].images.len(), 2);
    for name in [Some("1"), Some("2"), Some(&*images.assembled.root().0.digest.to_string())] {
        let image = layout.resolve(name, &platform("linux/amd64")).unwrap();
        assert_eq!(image.layers[0].source, BlobSource::Layout { path: path.clone() });
        let mut layer = Vec::new();
        let blob = &image.layers[0].descriptor;
        layout.open_blob(blob).unwrap().read_to_end(&mut layer).unwrap();
        assert_eq!(layer, b"shared");
    }
    // A manifest that only the index names.
    let arm = images.assembled.images[0].descriptor.digest.to_string();
    let image = layout.resolve(Some(&arm), &platform("linux/amd64")).unwrap();
    assert_eq!(image.platform, platform("linux/arm64"));
    let error = layout.resolve(None, &platform("linux/amd64")).unwrap_err();
    assert!(error.to_string().contains("it has 1, 2"), "{error}");
    let error = layout.resolve(Some("1"), &platform("linux/s390x")).unwrap_err();
    let LayoutError::Image { source } = error else { panic!("{error}") };
    assert!(matches!(source, ResolveError::NoPlatform { .. }), "{source}");
    assert_eq!(layout.inspect(Some("1")).unwrap().images.len(), 2);
}

#[test]
fn adds_to_a_layout_and_replaces_names() {
    let folder = tempfile::tempdir().unwrap();
    let image = |layer: &[u8]| Images::new(&["linux/amd64"], &[layer]);
    let (one, two) = (image(b"1"), image(b"2"));
    write(&one, folder.path(), &["app:1", "app:2"]).unwrap();
    write(&two, folder.path(), &["app:2"]).unwrap();
    let layout = Layout::open(folder.path()).unwrap();
    let tags: Vec<_> = layout
        .index()
        .manifests
        .iter()
        .map(|m| (&*m.annotations[ANNOTATION_REF_NAME], &m.digest))
        .collect();
    let digest = |images: &Images| images.assembled.root().0.digest.clone();
    assert_eq!(tags, [("1", &digest(&one)), ("2", &digest(&two))]);
    let before = fs::read(folder.path().join("index.json")).unwrap();
    write(&two, folder.path(), &["app:2"]).unwrap();
    assert_eq!(fs::read(folder.path().join("index.json")).unwrap(), before);
    // Nothing but the layout is left behind.
    let names = fs::read_dir(folder.path().join("blobs/sha256")).unwrap();
    assert!(names.flatten().all(|entry| entry.file_name().len() == 64));
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "").unwrap();
    assert!(write(&Images::new(&["linux/amd64"], &[]), folder.path(), &[]).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn tar(images: &Images) -> Vec<u8> {
    let names = ["app:1".parse().unwrap()];
    let mut bytes = Vec::new();
    NamedContent { built: &images.built(), names: &names, tag: None }
        .alone()
        .write_tar(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn an_archive_is_sorted_and_the_same_every_time() {
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    let bytes = tar(&images);
    assert_eq!(tar(&images), bytes);
    let mut archive = tar::Archive::new(&bytes[..]);
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            entry.path().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(&bytes[..]).unpack(folder.path()).unwrap();
    Layout::open(folder.path()).unwrap().validate().unwrap();
}

/// Gives the same bytes for any layer.
struct Always(&'static [u8]);

impl Blobs for Always {
    fn open(
        &self,
        _: &Descriptor,
        _: &BlobSource,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure> {
        Ok(Box::new(&self.0[offset as usize..]))
    }
}

#[test]
fn layers_elsewhere_are_fetched_and_checked() {
    let images = Images::new(&["linux/amd64"], &[]);
    let own = &images.layers[0];
    let remote = |bytes: &Vec<u8>| {
        let source = BlobSource::Registry { registry: "r.example".into(), repository: "a".into() };
        let descriptor = Descriptor::of("application/vnd.oci.image.layer.v1.tar", bytes);
        let diff_id = xbuild_model::DiffId(Digest::of(bytes));
        LayerBlob::Remote(ImageLayer { diff_id, descriptor, source })
    };
    let write = |bytes: &'static [u8], path: &Path| {
        let remote_blobs = Always(bytes);
        let assembled = images.assembled.clone();
        let built = xbuild_image::Built::new(assembled, [remote(own)], |_| Ok(None), &remote_blobs);
        let image = NamedContent { built: &built, names: &[], tag: None };
        let content = image.alone();
        content.write_folder(path)?;
        content.write_tar(Vec::new())
    };
    for bytes in [&b"layer of linux/AMD64"[..], b"layer of linux", b"layer of linux/amd64 and more"]
    {
        let folder = tempfile::tempdir().unwrap();
        let error = write(bytes, folder.path()).unwrap_err();
        assert!(
            matches!(error, LayoutError::LayerBytes { .. } | LayoutError::Io { .. }),
            "{}",
            chain(&error)
        );
        assert!(folder.path().join("blobs").exists());
        assert!(!folder.path().join("index.json").exists());
        // The next build may use the folder.
        write(b"layer of linux/amd64", folder.path()).unwrap();
        assert_eq!(read_layer(folder.path(), &platform("linux/amd64")).unwrap(), *own);
    }
    let folder = tempfile::tempdir().unwrap();
    write(b"layer of linux/amd64", folder.path()).unwrap();
    assert_eq!(read_layer(folder.path(), &platform("linux/amd64")).unwrap(), *own);
}

/// security.md 29, 30 and 35: what a layout may not make us read.
#[test]
fn only_regular_files_of_the_right_size_are_read() {
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    let amd64 = platform("linux/amd64");
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), b"layer").unwrap();
    let layer = images.assembled.blobs()[0].clone();
    let blob = format!("blobs/sha256/{}", layer.digest.hex());
    let manifest = format!("blobs/sha256/{}", images.assembled.root().0.digest.hex());
    type Damage<'a> = &'a dyn Fn(&Path);
    let replace = |name: &str, path: &Path| {
        fs::remove_file(path.join(name)).unwrap();
        symlink(secret.path(), path.join(name)).unwrap();
    };
    let cases: [(&str, Damage<'_>); 8] = [
        ("a link for a blob", &|path| replace(&blob, path)),
        ("a link for a manifest", &|path| replace(&manifest, path)),
        ("a link for the index", &|path| replace("index.json", path)),
        ("a link out and back in", &|path| {
            fs::rename(path.join(&blob), path.join("real")).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            symlink(format!("../../../{name}/real"), path.join(&blob)).unwrap();
        }),
        ("a FIFO for a blob", &|path| {
            fs::remove_file(path.join(&blob)).unwrap();
            let status = std::process::Command::new("mkfifo").arg(path.join(&blob)).status();
            assert!(status.unwrap().success());
        }),
        ("a folder for a blob", &|path| {
            fs::remove_file(path.join(&blob)).unwrap();
            fs::create_dir(path.join(&blob)).unwrap();
        }),
        ("a longer blob", &|path| fs::write(path.join(&blob), b"layer.").unwrap()),
        ("an index of 5 MiB", &|path| {
            fs::write(path.join("index.json"), vec![b' '; 5 << 20]).unwrap();
        }),
    ];
    for (what, damage) in cases {
        let folder = tempfile::tempdir().unwrap();
        write(&images, folder.path(), &[]).unwrap();
        damage(folder.path());
        assert!(read_layer(folder.path(), &amd64).is_err(), "{what}");
    }
}

/// Tools that share blobs between layouts make links of them.
#[test]
fn links_within_a_layout_are_followed() {
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    let folder = tempfile::tempdir().unwrap();
    write(&images, folder.path(), &[]).unwrap();
    let blobs = folder.path().join("blobs");
    fs::rename(&blobs, folder.path().join("real")).unwrap();
    symlink("real", &blobs).unwrap();
    for blob in images.assembled.blobs() {
        let path = blobs.join("sha256").join(blob.digest.hex());
        fs::rename(&path, folder.path().join(blob.digest.hex())).unwrap();
        symlink(format!("../../{}", blob.digest.hex()), &path).unwrap();
    }
    assert_eq!(read_layer(folder.path(), &platform("linux/amd64")).unwrap(), b"layer");
}

#[test]
fn a_layout_may_be_a_tar_archive() {
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[b"layer"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let name: Reference = "r.example/app:1".parse().unwrap();
    let built = images.built();
    let names = [name];
    let image = NamedContent { built: &built, names: &names, tag: None };
    let content = image.alone();
    content.write_tar(fs::File::create(&path).unwrap()).unwrap();
    assert_eq!(read_layer(&path, &platform("linux/arm64")).unwrap(), b"layer");
    let layout = Layout::open(&path).unwrap();
    assert!(layout.resolve(Some("1"), &platform("linux/amd64")).is_ok());
    layout.validate().unwrap();
    // As `tar -c .` writes names, and what is no layout.
    let mut bytes = Vec::new();
    let mut tar = tar::Builder::new(&mut bytes);
    let marker = br#"{"imageLayoutVersion":"1.0.0"}"#;
    let mut header = tar::Header::new_gnu();
    header.set_size(marker.len() as u64);
    header.set_cksum();
    tar.append_data(&mut header, "./oci-layout", &marker[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "index.json", "/etc/passwd").unwrap();
    tar.finish().unwrap();
    drop(tar);
    for (bytes, expected) in [
        (bytes, "index.json"),
        (b"\x1f\x8b\x08\0\0\0".to_vec(), "it is compressed"),
        (b"no archive".to_vec(), "oci-layout"),
        (Vec::new(), "oci-layout"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = Layout::open(&path).unwrap_err();
        assert!(error.to_string().contains(expected) || expected == "oci-layout", "{error}");
    }
}

/// Row A117 of the threat table: what annotations say is no name of a file.
#[test]
fn annotations_name_no_files() {
    let mut images = Images::new(&["linux/amd64"], &[b"layer"]);
    let folder = tempfile::tempdir().unwrap();
    let evil = "../../../evil";
    for key in ["org.opencontainers.image.title", "org.opencontainers.image.ref.name"] {
        for image in &mut images.assembled.images {
            image.descriptor.annotations.insert(key.to_owned(), evil.to_owned());
            for layer in &mut image.layers {
                layer.annotations.insert(key.to_owned(), evil.to_owned());
            }
        }
    }
    let path = folder.path().join("a/b/c/layout");
    write(&images, &path, &[]).unwrap();
    let layout = Layout::open(&path).unwrap();
    assert_eq!(read_layer(&path, &platform("linux/amd64")).unwrap(), b"layer");
    assert_eq!(layout.inspect(None).unwrap().images.len(), 1);
    let (mut names, mut todo) = (Vec::new(), vec![folder.path().to_owned()]);
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            todo.extend(path.is_dir().then_some(path));
        }
    }
    assert!(!names.iter().any(|name| name.contains("evil")), "{names:?}");
    let bytes = tar(&images);
    let mut archive = tar::Archive::new(&bytes[..]);
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap();
        assert!(!path.to_string_lossy().contains("evil"), "{}", path.display());
    }
}

#[test]
fn damage_is_found_by_validation() {
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    let layer = images.assembled.blobs()[0].clone();
    let folder = tempfile::tempdir().unwrap();
    write(&images, folder.path(), &[]).unwrap();
    fs::write(folder.path().join(format!("blobs/sha256/{}", layer.digest.hex())), "LAYER").unwrap();
    let error = Layout::open(folder.path()).unwrap().validate().unwrap_err();
    assert!(chain(&error).contains("the digest is"), "{}", chain(&error));
}

#[test]
fn tells_what_is_no_layout() {
    let folder = tempfile::tempdir().unwrap();
    let error = Layout::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("oci-layout"), "{error}");
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    let error = Layout::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("version"), "{error}");
    assert!(Layout::open(Path::new("/nonexistent")).is_err());
}

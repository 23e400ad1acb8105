//! OCI layouts, written and read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use xbuild_image::{Layout, LayoutContent, LayoutError, ResolveError};
use xbuild_model::manifest::REF_NAME;
use xbuild_model::{BlobSource, Reference};
use xbuild_testkit::registry::Registry;

use crate::fixture::{Built, build, chain, client, platform, put_image, read_layer, reference};

fn write(built: &Built, path: &Path, names: &[&str]) -> Result<(), LayoutError> {
    let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
    let (client, layers) = (client(), |wanted: &_| built.local(wanted));
    let content = LayoutContent {
        assembled: &built.assembled,
        names: &names,
        layers: &layers,
        blobs: &client,
    };
    content.write_folder(path)
}

#[test]
fn what_is_written_is_valid_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/layout");
    let built = build(&["linux/arm64", "linux/amd64"], &[b"shared"]);
    write(&built, &path, &["r.example/app:1", "r.example/app:2"]).unwrap();
    let layout = Layout::open(&path).unwrap();
    let validated = layout.validate().unwrap();
    assert_eq!(validated.len(), 2);
    assert_eq!(validated[0].images.len(), 2);
    for name in [Some("1"), Some("2"), Some(&*built.assembled.root().0.digest.to_string())] {
        let image = layout.resolve(name, &platform("linux/amd64")).unwrap();
        assert_eq!(image.layers[0].source, BlobSource::Layout { path: path.clone() });
        assert_eq!(read_layer(&client(), &image, 0).unwrap(), b"shared");
    }
    // A manifest that only the index names.
    let arm = built.assembled.images[0].descriptor.digest.to_string();
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
    let (one, two) = (build(&["linux/amd64"], &[b"1"]), build(&["linux/amd64"], &[b"2"]));
    write(&one, folder.path(), &["app:1", "app:2"]).unwrap();
    write(&two, folder.path(), &["app:2"]).unwrap();
    let layout = Layout::open(folder.path()).unwrap();
    let tags: Vec<_> =
        layout.index().manifests.iter().map(|m| (&*m.annotations[REF_NAME], &m.digest)).collect();
    let digest = |built: &Built| built.assembled.root().0.digest.clone();
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
    assert!(write(&build(&["linux/amd64"], &[]), folder.path(), &[]).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn tar(built: &Built) -> Vec<u8> {
    let client = client();
    let names = ["app:1".parse().unwrap()];
    let mut bytes = Vec::new();
    let content = LayoutContent {
        assembled: &built.assembled,
        names: &names,
        layers: &|wanted| built.local(wanted),
        blobs: &client,
    };
    content.write_tar(&mut bytes).unwrap();
    bytes
}

#[test]
fn an_archive_is_sorted_and_the_same_every_time() {
    let built = build(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    let bytes = tar(&built);
    assert_eq!(tar(&built), bytes);
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

#[test]
fn layers_elsewhere_are_fetched_and_checked() {
    let registry = Registry::start();
    put_image(&registry, "base", "latest", "linux/amd64", &[b"base"]);
    let client = client();
    let base = client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    let built = build(&["linux/amd64"], &[b"base"]);
    let layers = |wanted: &xbuild_model::Descriptor| {
        let mut layer = base.layers[0].clone();
        // The layer's own blob, or one that is not what it should be.
        layer.descriptor.digest = registry
            .put_blob("base", if wanted.size == 4 { b"base" } else { b"something else goes." });
        layer.descriptor.size = wanted.size;
        Ok(xbuild_image::PushSource::Remote(layer))
    };
    let content =
        LayoutContent { assembled: &built.assembled, names: &[], layers: &layers, blobs: &client };
    let folder = tempfile::tempdir().unwrap();
    let error = content.write_folder(folder.path()).unwrap_err();
    assert!(
        matches!(error, LayoutError::LayerBytes { .. } | LayoutError::Io { .. }),
        "{}",
        chain(&error)
    );
    assert!(!folder.path().join("index.json").exists());
    assert!(content.write_tar(Vec::new()).is_err());
}

/// security.md 29, 30 and 35: what a layout may not make us read.
#[test]
fn only_regular_files_of_the_right_size_are_read() {
    let built = build(&["linux/amd64"], &[b"layer"]);
    let amd64 = platform("linux/amd64");
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), b"layer").unwrap();
    let layer = built.assembled.layers()[0].clone();
    let blob = format!("blobs/sha256/{}", layer.digest.hex());
    let manifest = format!("blobs/sha256/{}", built.assembled.root().0.digest.hex());
    type Damage<'a> = &'a dyn Fn(&Path);
    let replace = |name: &str, path: &Path| {
        fs::remove_file(path.join(name)).unwrap();
        symlink(secret.path(), path.join(name)).unwrap();
    };
    let cases: [(&str, Damage<'_>); 8] = [
        ("a link for a blob", &|path| replace(&blob, path)),
        ("a link for a manifest", &|path| replace(&manifest, path)),
        ("a link for the index", &|path| replace("index.json", path)),
        ("a link for the blobs", &|path| {
            fs::rename(path.join("blobs"), path.join("real")).unwrap();
            symlink("real", path.join("blobs")).unwrap();
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
        write(&built, folder.path(), &[]).unwrap();
        damage(folder.path());
        let read = || -> Result<Vec<u8>, Box<dyn std::error::Error>> {
            let image = Layout::open(folder.path())?.resolve(None, &amd64)?;
            read_layer(&client(), &image, 0)
        };
        assert!(read().is_err(), "{what}");
    }
}

#[test]
fn damage_is_found_by_validation() {
    let built = build(&["linux/amd64"], &[b"layer"]);
    let layer = built.assembled.layers()[0].clone();
    let folder = tempfile::tempdir().unwrap();
    write(&built, folder.path(), &[]).unwrap();
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

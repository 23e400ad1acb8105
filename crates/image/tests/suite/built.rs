//! Opening the blobs of built images.

use std::io::Read as _;

use xbuild_model::{Descriptor, Digest};
use xbuild_testkit::images::{Images, Nowhere};

#[test]
fn each_blob_opens_at_any_offset_any_number_of_times() {
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    let built = images.built();
    let documents = built.content.documents().iter().map(|document| &document.descriptor);
    for blob in built.content.blobs().into_iter().chain(documents) {
        let found = built.find(blob).unwrap();
        let read = |offset| {
            let mut bytes = Vec::new();
            found.open(offset).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        let whole = read(0);
        assert_eq!((Digest::of(&whole), whole.len() as u64), (blob.digest.clone(), blob.size));
        assert_eq!(read(3), whole[3..]);
        assert_eq!(read(blob.size + 1), b"");
    }
    built.validate().unwrap();
}

#[test]
fn says_which_blob_is_gone() {
    let images = Images::new(&["linux/amd64"], &[]);
    let built = xbuild_image::Built::new(images.assembled.clone(), [], |_| Ok(None), &Nowhere);
    let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar", &images.layers[0]);
    let error = built.find(&layer).unwrap_err();
    assert!(error.to_string().contains(&format!("{} is gone", layer.digest)), "{error}");
}

#[test]
fn blobs_are_layers_and_configurations_each_once() {
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    let digests: Vec<_> = images.assembled.blobs().iter().map(|blob| &blob.digest).collect();
    let [amd64, arm64] = &images.assembled.images[..] else { panic!("two platforms") };
    let layers = [&b"shared"[..], b"layer of linux/amd64", b"layer of linux/arm64"];
    let layers = layers.map(Digest::of);
    let configs = [&amd64.config_descriptor.digest, &arm64.config_descriptor.digest];
    assert_eq!(digests, layers.iter().chain(configs).collect::<Vec<_>>());
}

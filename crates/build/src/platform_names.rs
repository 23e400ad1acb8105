//! The names of single platforms, beside those of the whole image.

use std::collections::BTreeMap;

use xbuild_image::{Assembled, Built};
use xbuild_model::{Descriptor, Digest, Reference};
use xbuild_registry::{Client, Push, PushError, PushEvent};

use crate::request::PlatformTag;

/// The image of one platform and its names.
pub(crate) struct NamedImage<'a> {
    /// The image alone.
    pub(crate) built: Built<'a>,
    /// Its names, at least one.
    pub(crate) names: Vec<Reference>,
}

/// Returns the image of each platform that has a name of its own, in the order of the digests.
pub(crate) fn images<'a>(
    assembled: &Assembled,
    built: &'a Built<'_>,
    tags: &[PlatformTag],
) -> Vec<NamedImage<'a>> {
    let mut names: BTreeMap<&Digest, Vec<Reference>> = BTreeMap::new();
    for tag in tags {
        if let Some(image) = assembled.images.iter().find(|image| image.platform == tag.platform) {
            names.entry(&image.descriptor.digest).or_default().push(tag.name.clone());
        }
    }
    let alone = |(digest, names)| Some(NamedImage { built: built.image(digest)?, names });
    names.into_iter().filter_map(alone).collect()
}

impl NamedImage<'_> {
    /// Returns each name, with the descriptor of the manifest.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Reference, &Descriptor)> {
        self.names.iter().map(|name| (name, &self.built.content.root().descriptor))
    }

    /// Sends the image to the repositories of its names that are not those of `others`, without a
    /// tag: no tag moves until everything is in all registries.
    pub(crate) fn send(
        &self,
        client: &Client,
        others: &[Reference],
        progress: &(dyn Fn(PushEvent<'_>) + Sync),
    ) -> Result<(), PushError> {
        let place = |name: &Reference| (name.registry().to_owned(), name.repository().to_owned());
        let is_new = |name: &&Reference| others.iter().all(|other| place(other) != place(name));
        let targets: Vec<Reference> = self.names.iter().filter(is_new).cloned().collect();
        client.push(&Push { targets: &targets, by_digest: true, built: &self.built, progress })
    }

    /// Makes its names name it. The image is there.
    pub(crate) fn tag(
        &self,
        client: &Client,
        progress: &(dyn Fn(PushEvent<'_>) + Sync),
    ) -> Result<(), PushError> {
        let tagged = |event: PushEvent<'_>| {
            if matches!(event, PushEvent::Tagged { .. }) {
                progress(event);
            }
        };
        let push =
            Push { targets: &self.names, by_digest: false, built: &self.built, progress: &tagged };
        client.push(&push)
    }
}

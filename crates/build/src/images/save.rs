//! Saving images of the store as archives.

use std::io::Write;
use std::path::Path;

use xbuild_image::{Built, LayoutContent, NamedContent, gather};
use xbuild_model::manifest::OCI_INDEX;
use xbuild_model::{Descriptor, Platform, Reference};

use super::docker_form::without_zstd;
use super::shelf::Shelf;
use crate::error::{During, ImagesError};
use crate::events::{Event, Warning};
use crate::file_out::{is_stream, to_file};

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveForm {
    /// An OCI layout.
    Oci,
    /// An OCI layout that is an archive of `docker save`, too. It holds one platform.
    Docker,
}

/// An image to write.
pub(super) struct Saved<'a> {
    pub(super) built: Built<'a>,
    pub(super) names: Vec<Reference>,
    pub(super) tag: Option<String>,
}

impl Saved<'_> {
    fn named(&self) -> NamedContent<'_> {
        let tag = self.tag.as_deref();
        NamedContent { built: &self.built, names: &self.names, tag }
    }
}

impl Shelf {
    /// Writes images of the store for platforms, or for all if there are none, as one archive: to a
    /// file, or to `stdout`. Without a form it is one for Docker if each image has one platform.
    pub fn save(
        &self,
        images: &[String],
        platforms: &[Platform],
        form: Option<ArchiveForm>,
        out: (Option<&Path>, &mut dyn Write),
    ) -> Result<(), ImagesError> {
        let records = images.iter().map(|image| self.find(image));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let mut saved: Vec<Saved<'_>> = Vec::new();
        for record in &records {
            let image = self.image(record);
            let wanted = match (form, platforms) {
                (Some(ArchiveForm::Docker), []) if is_index(&record.target) => {
                    self.only_host(&record.name)
                }
                _ => platforms.to_vec(),
            };
            let built = self.built(gather(&image, &wanted)?, &|blob| image.source(blob));
            let digest = &built.content.root().descriptor.digest;
            let same = saved
                .iter_mut()
                .find(|other| other.built.content.root().descriptor.digest == *digest);
            // An image without a name may be saved by its digest.
            let names: Vec<Reference> = record.name.parse().ok().into_iter().collect();
            match same {
                Some(other) => other.names.extend(names),
                None => saved.push(Saved { built, names, tag: None }),
            }
        }
        let is_alone = |saved: &Saved<'_>| !is_index(&saved.built.content.root().descriptor);
        let form = form.unwrap_or(match saved.iter().all(is_alone) {
            true => ArchiveForm::Docker,
            false => ArchiveForm::Oci,
        });
        self.write(saved, form, out)
    }

    /// Returns the platform of this machine, with a warning: the archive holds no other.
    pub(super) fn only_host(&self, name: &str) -> Vec<Platform> {
        let platform = Platform::host();
        let warning = Warning::OnePlatform { name: name.to_owned(), platform: platform.clone() };
        self.events.event(Event::Warning(&warning));
        vec![platform]
    }

    /// Writes an archive.
    pub(super) fn write<'a>(
        &'a self,
        mut saved: Vec<Saved<'a>>,
        form: ArchiveForm,
        (path, stdout): (Option<&Path>, &mut dyn Write),
    ) -> Result<(), ImagesError> {
        let is_docker = form == ArchiveForm::Docker;
        for image in saved.iter_mut().filter(|_| is_docker) {
            let other = without_zstd((&self.store, &self.client), &image.built);
            let other = other.map_err(During::new("saving")).map_err(ImagesError::Stage)?;
            if let Some(other) = other {
                image.built = other;
            }
        }
        let images: Vec<NamedContent<'_>> = saved.iter().map(Saved::named).collect();
        let content = LayoutContent { images: &images, is_docker };
        let mut is_second = false;
        loop {
            match to_file(path, stdout, |out| Ok(content.write_tar(out)?)) {
                Err(ImagesError::Layout(fault))
                    if !is_stream(path) && content.may_help(&fault, &mut is_second) => {}
                done => return done,
            }
        }
    }
}

/// Returns whether a name stands for an index.
pub(super) fn is_index(target: &Descriptor) -> bool {
    [OCI_INDEX, xbuild_model::manifest::DOCKER_INDEX].contains(&target.media_type.as_str())
}

//! Loading archives of images into the store.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use xbuild_files::archive::decompressed;
use xbuild_files::context_tar::{SNIFFED, is_archive};
use xbuild_image::document::{MAX_CONFIG, MAX_MANIFEST};
use xbuild_image::{DockerImage, Layout, Members, gather};
use xbuild_layer::decode::decompress_any;
use xbuild_layer::{Encoder, Encoding, LayerError};
use xbuild_model::manifest::{Compression, OCI_CONFIG, OCI_MANIFEST};
use xbuild_model::{
    BlobSource, Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Reference,
};
use xbuild_store::{Hashed, ImageRecord};

use super::listing::present;
use super::shelf::Shelf;
use crate::error::ImagesError;

/// The annotations of a layout's index that may hold the name of an image: the whole name, and the
/// tag or the whole name.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// An image of an archive, in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedImage {
    /// Its names in the archive.
    pub names: Vec<Reference>,
    /// Its manifest or index.
    pub target: Descriptor,
}

impl Shelf {
    /// Loads an archive, `None` for standard input, or the folder of an OCI layout. Its images get
    /// the names that they have there.
    ///
    /// **Errors** — no image is named then. Blobs that were read stay until the store is pruned.
    pub fn load(
        &self,
        path: Option<&Path>,
        stdin: &mut (dyn Read + Send),
    ) -> Result<Vec<LoadedImage>, ImagesError> {
        let loaded = self.bring(path, stdin)?;
        for image in &loaded {
            for name in &image.names {
                self.name(name, &image.target)?;
            }
        }
        Ok(loaded)
    }

    /// Brings the images of an archive into the store, and gives them no names.
    pub(super) fn bring(
        &self,
        path: Option<&Path>,
        stdin: &mut (dyn Read + Send),
    ) -> Result<Vec<LoadedImage>, ImagesError> {
        let shown = path.map_or_else(|| PathBuf::from("standard input"), Path::to_owned);
        let input = |error| ImagesError::Input { path: shown.clone(), error };
        let loaded = match path {
            Some(path) if path.is_dir() => self.bring_folder(path)?,
            Some(path) => {
                let file = File::open(path).map_err(input)?;
                Archive { shelf: self, path: &shown }.bring(file)?
            }
            None => Archive { shelf: self, path: &shown }.bring(stdin)?,
        };
        self.store.settle()?;
        match loaded.is_empty() {
            true => Err(ImagesError::Archive { path: shown, reason: "it has no image".to_owned() }),
            false => Ok(loaded),
        }
    }

    fn bring_folder(&self, path: &Path) -> Result<Vec<LoadedImage>, ImagesError> {
        let path = path
            .canonicalize()
            .map_err(|error| ImagesError::Input { path: path.to_owned(), error })?;
        let layout = Layout::open(&path)?;
        let mut loaded: Vec<LoadedImage> = Vec::new();
        for entry in &layout.index().manifests {
            let documents = layout.documents(Some(&entry.digest.to_string()))?;
            let content = gather(&documents, &[])?;
            self.take(&content, &|_| BlobSource::Layout { path: path.clone() })?;
            add(&mut loaded, entry.clone());
        }
        Ok(loaded)
    }
}

/// Adds an entry of a layout's index to the images; one image may have several entries.
fn add(loaded: &mut Vec<LoadedImage>, entry: Descriptor) {
    let names = NAMES.iter().filter_map(|key| entry.annotations.get(*key));
    // A tag alone is no name.
    let mut whole = names.filter(|name| name.contains([':', '/']));
    let name: Option<Reference> = whole.find_map(|name| name.parse().ok());
    let known = loaded.iter().position(|image| image.target.digest == entry.digest);
    let at = known.unwrap_or_else(|| {
        loaded.push(LoadedImage { names: Vec::new(), target: entry });
        loaded.len() - 1
    });
    loaded[at].names.extend(name);
}

/// An archive that is read into the store.
struct Archive<'a> {
    shelf: &'a Shelf,
    path: &'a Path,
}

impl Archive<'_> {
    fn bring(&self, input: impl Read + Send) -> Result<Vec<LoadedImage>, ImagesError> {
        let store = &self.shelf.store;
        let (mut input, mut head) = (input, Vec::new());
        let sniffed = input.by_ref().take(SNIFFED as u64).read_to_end(&mut head);
        sniffed.map_err(|error| ImagesError::Input { path: self.path.to_owned(), error })?;
        if !is_archive(&head) {
            let what = if head.is_empty() { "it is empty" } else { "it is no tar file" };
            return Err(self.fail(what.to_owned()));
        }
        let input = decompressed(io::Cursor::new(head).chain(input))
            .map_err(|error| self.compressed(error))?;
        let failed = io::Error::other;
        let members = Members::read(input, &mut |member| {
            let mut writer = store.blob_writer().map_err(failed)?;
            io::copy(member, &mut writer)?;
            writer.commit(None).map_err(failed)
        });
        let path = || self.path.to_owned();
        let members = members.map_err(|error| ImagesError::Input { path: path(), error })?;
        store.settle()?;
        if members.get("oci-layout").is_some() && members.get("index.json").is_some() {
            return self.layout(&members);
        }
        let images: Vec<DockerImage> = self.json(&members, "manifest.json", MAX_MANIFEST)?;
        images.iter().map(|image| self.docker(&members, image)).collect()
    }

    /// Returns the images of an OCI layout.
    fn layout(&self, members: &Members) -> Result<Vec<LoadedImage>, ImagesError> {
        let index: Index = self.json(members, "index.json", MAX_MANIFEST)?;
        let mut loaded = Vec::new();
        for entry in index.manifests {
            let record = ImageRecord::new(self.path.display().to_string(), entry.clone());
            let present = present(&self.shelf.store, &record)?;
            if present.is_empty() {
                return Err(self.fail(format!("it lacks the manifests of {}", entry.digest)));
            }
            for image in present {
                let blobs = image.manifest.layers.iter().chain([&image.manifest.config]);
                if let Some(blob) = blobs.into_iter().find(|blob| !self.shelf.store.has_blob(blob))
                {
                    return Err(self.fail(format!("it lacks the blob {}", blob.digest)));
                }
            }
            add(&mut loaded, entry);
        }
        Ok(loaded)
    }

    /// Makes the manifest of an image that `docker save` wrote without one. The configuration stays
    /// as it is, and so does the image ID.
    fn docker(&self, members: &Members, image: &DockerImage) -> Result<LoadedImage, ImagesError> {
        let store = &self.shelf.store;
        let (digest, size) = members.get(&image.config).ok_or_else(|| self.lacks(&image.config))?;
        let config: ImageConfig = self.json(members, &image.config, MAX_CONFIG)?;
        let (paths, ids) = (image.layers.iter().flatten(), &config.rootfs.diff_ids);
        let paths: Vec<&String> = paths.collect();
        if paths.len() != ids.len() {
            return Err(self.fail(format!("{} layers, but {} diff IDs", paths.len(), ids.len())));
        }
        let layers = paths.iter().zip(ids).map(|(path, id)| {
            let member = members.get(path).ok_or_else(|| self.lacks(path))?;
            self.layer(member, id)
        });
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: Descriptor::new(OCI_CONFIG, digest.clone(), *size),
            layers: layers.collect::<Result<_, _>>()?,
            annotations: Default::default(),
        };
        let manifest = serde_json::to_vec(&manifest).expect("a manifest has string keys only");
        store.put_blob(&manifest)?;
        // Docker writes `<none>:<none>` for an image without a name.
        let names = image.repo_tags.iter().flatten().filter_map(|name| name.parse().ok()).collect();
        Ok(LoadedImage { names, target: Descriptor::of(OCI_MANIFEST, &manifest) })
    }

    /// Returns the blob of a layer. One that is not compressed is compressed: it will be pushed.
    fn layer(
        &self,
        (digest, size): &(Digest, u64),
        id: &DiffId,
    ) -> Result<Descriptor, ImagesError> {
        let store = &self.shelf.store;
        let lost = || self.fail(format!("the store has lost the layer {digest}"));
        let mut file = store.open_sound(digest)?.ok_or_else(lost)?;
        let wrong =
            |actual: &Digest| self.fail(format!("the layer {id} has the bytes of {actual}"));
        if digest == &id.0 {
            let writer = store.blob_writer()?;
            let encoder = Encoder::new(writer, Encoding::default()).and_then(|mut encoder| {
                io::copy(&mut file, &mut encoder)?;
                encoder.flush()?;
                encoder.finish()
            });
            let encoder = encoder.map_err(|error| self.input(error))?;
            let (digest, size) = encoder.commit(None)?;
            let media_type = Encoding::default().compression().oci_media_type();
            return Ok(Descriptor::new(media_type, digest, size));
        }
        let mut head = [0; 512];
        let length = io::Read::read(&mut file, &mut head).map_err(|error| self.input(error))?;
        let compression = Compression::of_bytes(&head[..length]);
        io::Seek::rewind(&mut file).map_err(|error| self.input(error))?;
        let mut plain = decompress_any(file).map_err(|error| self.compressed(error))?;
        let mut hash = Hashed::new(io::sink());
        io::copy(&mut plain, &mut hash).map_err(|error| self.input(error))?;
        let (_, actual) = hash.finish();
        match actual == id.0 {
            true => Ok(Descriptor::new(compression.oci_media_type(), digest.clone(), *size)),
            false => Err(wrong(&actual)),
        }
    }

    /// Reads a member of JSON.
    fn json<T: serde::de::DeserializeOwned>(
        &self,
        members: &Members,
        path: &str,
        limit: u64,
    ) -> Result<T, ImagesError> {
        let (digest, size) = members.get(path).ok_or_else(|| self.lacks(path))?;
        if *size > limit {
            return Err(self.fail(format!("{path} is too large")));
        }
        let file = self.shelf.store.open_sound(digest)?.ok_or_else(|| self.lacks(path))?;
        let read = serde_json::from_reader(io::BufReader::new(file));
        read.map_err(|error| self.fail(format!("{path} is not valid: {error}")))
    }

    fn lacks(&self, path: &str) -> ImagesError {
        self.fail(format!("it lacks {path}"))
    }

    fn fail(&self, reason: String) -> ImagesError {
        ImagesError::Archive { path: self.path.to_owned(), reason }
    }

    fn input(&self, error: io::Error) -> ImagesError {
        ImagesError::Input { path: self.path.to_owned(), error }
    }

    fn compressed(&self, error: LayerError) -> ImagesError {
        ImagesError::Compressed { path: self.path.to_owned(), error }
    }
}

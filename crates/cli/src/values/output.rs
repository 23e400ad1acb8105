//! Values of `--output`.

use std::path::PathBuf;

use xbuild_build::request::{ImageOptions, LayerForm, ManifestForm, Output, Split, Target};
use xbuild_model::Reference;
use xbuild_model::manifest::Compression;
use xbuild_wording::quoted;

use super::annotation;
use super::names::references;
use super::{compression, csv};
use crate::report::Problem;

/// Reads a value of `--output`.
///
/// **Source** — `docker buildx build` reference, § --output: `type=..,key=value,..`, or a folder
/// alone, or `-` for a tar file on standard output.
pub(crate) fn parse(text: &str) -> Result<Output, Problem> {
    if text == "-" {
        return Ok(Output::new(Target::Tar(None, Split::default())));
    }
    if !text.contains('=') {
        return Ok(Output::new(Target::Local(PathBuf::from(text), Split::default())));
    }
    let mut attributes = Attributes::parse(text)?;
    let kind = attributes.take("type").unwrap_or_default();
    let is_image = ["oci", "docker", "image", "registry"].contains(&kind.as_str());
    let (layers, manifests) = match is_image {
        true => (attributes.layer_form(&kind)?, attributes.manifest_form()?),
        false => Default::default(),
    };
    let mut output = Output { layers, manifests, ..Output::new(Target::CacheOnly) };
    output.target = match kind.as_str() {
        "oci" | "docker" => {
            output.names = attributes.names()?;
            attributes.layout(&kind)?
        }
        "tar" => match attributes.dest() {
            Some(dest) => {
                output.attestation_prefix = attributes.attestation_prefix()?;
                Target::Tar(dest, attributes.split()?)
            }
            None => return Err(attributes.fail("type=tar needs dest=FILE or dest=-")),
        },
        "local" => match attributes.dest().flatten() {
            Some(dest) => {
                output.attestation_prefix = attributes.attestation_prefix()?;
                Target::Local(dest, attributes.split()?)
            }
            None => return Err(attributes.fail("type=local needs dest=FOLDER")),
        },
        "image" | "registry" => {
            let push = attributes.flag("push")?.unwrap_or(kind == "registry");
            let options = attributes.image_options(push)?;
            Target::Image { names: attributes.names()?, push, options }
        }
        "cacheonly" => Target::CacheOnly,
        "" => return Err(attributes.fail("type= is missing")),
        _ => {
            return Err(attributes
                .fail("the type is one of oci, docker, tar, local, image, registry, cacheonly"));
        }
    };
    attributes.finish(&kind)?;
    Ok(output)
}

/// Attributes that are refused, each with the reason; their value `false` is granted.
const REFUSED: &[(&str, &str)] = &[
    ("unpack", "the store unpacks a layer when a RUN needs it"),
    ("dangling-name-prefix", "an image is named with --tag or name="),
    ("danging-name-empty-only", "an image is named with --tag or name="),
    ("dangling-name-empty-only", "an image is named with --tag or name="),
    ("attestation-inline", "attestations are in the index: leave it out, or --provenance=false"),
    ("compatibility-version", "digests follow the version of xbuild"),
    ("context", "set DOCKER_CONTEXT, or DOCKER_HOST"),
    ("mode", "only files that the image has are replaced, and no other is removed"),
    ("buildinfo", "it is out of use"),
    ("buildinfo-attrs", "it is out of use"),
];

/// The attributes of all types, for suggestions.
const KEYS: &[&str] = &[
    "type",
    "dest",
    "tar",
    "name",
    "push",
    "compression",
    "compression-level",
    "force-compression",
    "rewrite-timestamp",
    "oci-mediatypes",
    "oci-artifact",
    "prefer-nondist-layers",
    "push-by-digest",
    "name-canonical",
    "registry.insecure",
    "store",
    "platform-split",
    "attestation-prefix",
];

/// The comma-separated `key=value` list; a part in double quotes may hold commas.
struct Attributes<'a> {
    text: &'a str,
    list: Vec<(String, String)>,
}

impl<'a> Attributes<'a> {
    fn parse(text: &'a str) -> Result<Self, Problem> {
        let mut attributes = Self { text, list: Vec::new() };
        for part in csv::split(text) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(attributes.fail("each part is key=value"));
            };
            let key = key.trim();
            // The rest of an annotation's key is its name.
            let key = match key.starts_with("annotation") {
                true => key.to_owned(),
                false => key.to_ascii_lowercase(),
            };
            attributes.list.push((key, value.to_owned()));
        }
        Ok(attributes)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let place = self.list.iter().rposition(|(name, _)| name == key)?;
        let value = self.list.remove(place).1;
        self.list.retain(|(name, _)| name != key);
        Some(value)
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, Problem> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(self.fail(&format!("{key} is true or false"))),
        }
    }

    /// Takes `dest`: `None` if absent, `Some(None)` for standard output.
    fn dest(&mut self) -> Option<Option<PathBuf>> {
        self.take("dest").map(|dest| (dest != "-").then(|| PathBuf::from(dest)))
    }

    /// Takes the attributes of layers.
    ///
    /// **Source** — BuildKit, `docs/exporters`: `compression`, `compression-level`,
    /// `force-compression`, `rewrite-timestamp`.
    fn layer_form(&mut self, kind: &str) -> Result<LayerForm, Problem> {
        let (compression, level) = (self.take("compression"), self.take("compression-level"));
        let encoding = compression::encoding(compression.as_deref(), level.as_deref());
        let encoding = encoding.map_err(|reason| self.fail(reason))?;
        let compression = encoding.compression();
        let has_docker_types = self.is_off("oci-mediatypes");
        if compression == Compression::Zstd && has_docker_types {
            return Err(self.fail("Docker has no media type for zstd: leave out oci-mediatypes"));
        }
        if compression == Compression::Zstd && kind == "docker" {
            return Err(self.fail("an archive for Docker has no layers of zstd: use type=oci"));
        }
        Ok(LayerForm {
            encoding,
            force: self.flag("force-compression")?.unwrap_or(false),
            clamp_times: self.flag("rewrite-timestamp")?.unwrap_or(false),
        })
    }

    /// Takes the attributes of manifests and index.
    ///
    /// **Source** — BuildKit, `docs/annotations.md`: `annotation[-TYPE][[PLATFORM]].NAME`.
    fn manifest_form(&mut self) -> Result<ManifestForm, Problem> {
        let docker_types = self.flag("oci-mediatypes")? == Some(false);
        let is_annotation = |key: &str| key.starts_with("annotation");
        let taken = self.list.extract_if(.., |(key, _)| is_annotation(key));
        let taken: Vec<(String, String)> = taken.collect();
        let mut list = Vec::new();
        for (key, value) in taken {
            let rest = &key["annotation".len()..];
            // A platform may have dots.
            let from = rest.find(']').unwrap_or(0);
            let Some(dot) = rest[from..].find('.').map(|dot| from + dot) else {
                return Err(self.fail(&format!("{key}=: expected annotation[-TYPE].NAME=VALUE")));
            };
            let (kind, name) = (&rest[..dot], &rest[dot + 1..]);
            let kind = match kind.strip_prefix('-') {
                Some(kind) => kind.to_owned(),
                None => format!("manifest{kind}"),
            };
            if !annotation::is_type(&kind) {
                return Err(self.fail(&format!(
                    "{key}=: the type is manifest, index, manifest-descriptor or index-descriptor"
                )));
            }
            list.push(format!("{kind}:{name}={value}"));
        }
        let annotations = annotation::parse(&list)?;
        let attestations_like_images = self.flag("oci-artifact")? == Some(false);
        let foreign_as_ordinary = self.flag("prefer-nondist-layers")? == Some(false);
        let form = ManifestForm { docker_types, annotations, ..ManifestForm::default() };
        Ok(ManifestForm { attestations_like_images, foreign_as_ordinary, ..form })
    }

    fn names(&mut self) -> Result<Vec<Reference>, Problem> {
        let names = self.take("name").unwrap_or_default();
        let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        references(&names.collect::<Vec<_>>())
    }

    /// Takes the place of a layout or of an archive for Docker.
    fn layout(&mut self, kind: &str) -> Result<Target, Problem> {
        let is_folder = self.flag("tar")? == Some(false);
        match (kind, self.dest(), is_folder) {
            ("docker", _, true) => Err(self.fail("tar=false is for type=oci")),
            ("docker", Some(dest), _) => Ok(Target::Docker(dest)),
            ("docker", None, _) => Ok(Target::Engine),
            (_, Some(Some(dest)), true) => Ok(Target::OciFolder(dest)),
            (_, _, true) => Err(self.fail("tar=false needs dest=FOLDER")),
            (_, Some(dest), false) => Ok(Target::OciTar(dest)),
            (_, None, false) => Err(self.fail("type=oci needs dest=FILE or dest=-")),
        }
    }

    /// Takes what the names of files with statements begin with.
    fn attestation_prefix(&mut self) -> Result<String, Problem> {
        let prefix = self.take("attestation-prefix").unwrap_or_default();
        match prefix.contains(['/', '\0']) {
            true => Err(self.fail("attestation-prefix is a part of the name of a file")),
            false => Ok(prefix),
        }
    }

    fn split(&mut self) -> Result<Split, Problem> {
        Ok(match self.flag("platform-split")? {
            None => Split::Several,
            Some(true) => Split::Always,
            Some(false) => Split::Never,
        })
    }

    /// Takes the options of an image that is `push`ed or not.
    fn image_options(&mut self, push: bool) -> Result<ImageOptions, Problem> {
        let by_digest = self.flag("push-by-digest")?.unwrap_or(false);
        if by_digest && !push {
            return Err(self.fail("push-by-digest=true needs push=true or type=registry"));
        }
        let names = self.list.iter().filter(|(key, _)| by_digest && key == "name");
        let mut last_parts = names.flat_map(|(_, names)| names.split(','));
        let has_tag = |name: &str| name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if last_parts.any(has_tag) {
            return Err(self.fail("push-by-digest=true gives no tag: leave it out of name="));
        }
        let store = self.flag("store")?.unwrap_or(true);
        Ok(ImageOptions {
            by_digest,
            canonical: self.flag("name-canonical")?.unwrap_or(false),
            insecure: self.flag("registry.insecure")?.unwrap_or(false),
            store,
        })
    }

    /// Returns whether a flag is given as false.
    fn is_off(&self, key: &str) -> bool {
        self.list.iter().any(|(name, value)| name == key && matches!(value.as_str(), "false" | "0"))
    }

    /// Makes the problem of an output. If a key is a slip of typing, that may be why.
    fn fail(&self, reason: &str) -> Problem {
        let problem =
            Problem::command_line(format!("invalid --output {}: {reason}", quoted(&self.text)));
        let is_known = |key: &str| {
            KEYS.contains(&key)
                || key.starts_with("annotation")
                || REFUSED.iter().any(|(refused, _)| *refused == key)
        };
        match self.list.iter().find(|(key, _)| !is_known(key)) {
            Some((key, _)) => problem.did_you_mean(key, KEYS.iter().copied(), "="),
            None => problem,
        }
    }

    fn finish(mut self, kind: &str) -> Result<(), Problem> {
        for (key, reason) in REFUSED {
            if self.is_off(key) {
                drop(self.take(key));
            } else if self.list.iter().any(|(name, _)| name == key) {
                return Err(self.fail(&format!("{key}= is not implemented: {reason}")));
            }
        }
        let of_images = |key: &str| {
            ["push-by-digest", "name-canonical", "registry.insecure", "push", "store"]
                .contains(&key)
        };
        match self.list.first() {
            None => Ok(()),
            Some((key, _)) if key.contains("compression") || key == "rewrite-timestamp" => {
                Err(self.fail(&format!("{key}= is for type=image, registry, oci and docker")))
            }
            Some((key, _)) if key.starts_with("annotation") || key == "oci-mediatypes" => {
                Err(self.fail(&format!("{key}= is for type=image, registry, oci and docker")))
            }
            Some((key, _)) if of_images(key) => {
                Err(self.fail(&format!("{key}= is for type=image and registry")))
            }
            Some((key, _)) if key == "platform-split" || key == "attestation-prefix" => {
                Err(self.fail(&format!("{key}= is for type=local and tar")))
            }
            Some((key, _)) if matches!(&**key, "oci-artifact" | "prefer-nondist-layers") => {
                Err(self.fail(&format!("{key}= is for type=image, registry, oci and docker")))
            }
            Some((key, _)) => Err(self.fail(&format!("{key}= is unknown for type={kind}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use xbuild_layer::Encoding;

    use super::*;

    #[test]
    fn reads_what_buildx_reads() {
        let path = |text: &str| PathBuf::from(text);
        let options = ImageOptions::default();
        let by_digest =
            ImageOptions { by_digest: true, canonical: true, insecure: true, store: false };
        for (text, expected) in [
            ("-", Target::Tar(None, Split::Several)),
            ("out", Target::Local(path("out"), Split::Several)),
            ("type=local,dest=out", Target::Local(path("out"), Split::Several)),
            ("type=local,dest=out,platform-split=false", Target::Local(path("out"), Split::Never)),
            ("type=tar,dest=a,platform-split=true", Target::Tar(Some(path("a")), Split::Always)),
            ("type=docker,dest=a.tar", Target::Docker(Some(path("a.tar")))),
            ("type=docker", Target::Engine),
            ("type=docker,dest=-", Target::Docker(None)),
            ("type=tar,dest=-", Target::Tar(None, Split::Several)),
            ("type=oci,dest=a.tar", Target::OciTar(Some(path("a.tar")))),
            ("type=oci,\"dest=a,b\",tar=false", Target::OciFolder(path("a,b"))),
            ("type=image", Target::Image { names: vec![], push: false, options }),
            (
                "type=registry,\"name=r.example/a,r.example/b\"",
                Target::Image {
                    names: vec!["r.example/a".parse().unwrap(), "r.example/b".parse().unwrap()],
                    push: true,
                    options,
                },
            ),
            (
                "type=image,name=a:1,push=true",
                Target::Image { names: vec!["a:1".parse().unwrap()], push: true, options },
            ),
            (
                "type=image,push-by-digest=true,name-canonical=true,registry.insecure=true,\
                 store=false,push=true,unpack=false",
                Target::Image { names: vec![], push: true, options: by_digest },
            ),
            ("type=cacheonly", Target::CacheOnly),
        ] {
            let expected = Output::new(expected);
            assert_eq!(parse(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn reads_how_layers_are_compressed() {
        let form = |text: &str| parse(&format!("type=image,{text}")).unwrap().layers;
        let new = |compression, level| Encoding::new(compression, level).unwrap();
        for (text, encoding, force) in [
            ("compression=gzip", Encoding::default(), false),
            ("compression-level=9", new(Compression::Gzip, Some(9)), false),
            ("compression=zstd,force-compression=true", new(Compression::Zstd, None), true),
            ("compression=zstd,compression-level=22", new(Compression::Zstd, Some(22)), false),
            ("compression=uncompressed", new(Compression::None, None), false),
        ] {
            assert_eq!(form(text), LayerForm { encoding, force, clamp_times: false }, "{text}");
        }
    }

    #[test]
    fn reads_annotations() {
        let output = parse(
            "type=image,annotation.Org.Example=a,annotation-index.b=c,\
             annotation-manifest-descriptor[linux/arm/v7].d.e=f,annotation[linux/arm64].g=h",
        )
        .unwrap();
        let expected = annotation::parse(&[
            "manifest:Org.Example=a".to_owned(),
            "index:b=c".to_owned(),
            "manifest-descriptor[linux/arm/v7]:d.e=f".to_owned(),
            "manifest[linux/arm64]:g=h".to_owned(),
        ]);
        assert_eq!(output.manifests.annotations, expected.unwrap());
        assert!(parse("type=image,oci-mediatypes=false").unwrap().manifests.docker_types);
    }

    #[test]
    fn refuses_by_name() {
        for (text, word) in [
            ("type=oci", "dest"),
            ("type=oci,dest=a,compression=estargz", "use gzip"),
            ("type=oci,dest=a,compression=lz4", "compression is gzip"),
            ("type=oci,dest=a,compression-level=10", "0 to 9"),
            ("type=image,compression=zstd,compression-level=-1", "0 to 22"),
            ("type=image,compression=uncompressed,compression-level=0", "no meaning"),
            ("type=image,compression=zstd,oci-mediatypes=false", "oci-mediatypes"),
            ("type=image,force-compression=maybe", "force-compression"),
            ("type=tar,dest=a,compression=gzip", "type=image, registry, oci and docker"),
            ("type=local,dest=a,force-compression=true", "type=image, registry, oci and docker"),
            ("type=docker,dest=a,compression=zstd", "no layers of zstd"),
            ("type=docker,dest=a,context=x", "DOCKER_CONTEXT"),
            ("type=docker,dest=a,tar=false", "type=oci"),
            ("type=image,rewrite-timestamp=1970", "true or false"),
            ("type=local,dest=a,rewrite-timestamp=true", "type=image, registry, oci and docker"),
            ("type=image,unpack=true", "the store unpacks"),
            ("type=image,dangling-name-prefix=x", "--tag"),
            ("type=image,attestation-inline=true", "attestations"),
            ("type=oci,dest=a,push-by-digest=true", "type=image and registry"),
            ("type=tar,dest=a,oci-mediatypes=true", "type=image, registry, oci and docker"),
            ("type=oci,dest=a,platform-split=true", "type=local and tar"),
            ("type=image,annotation=x", "annotation[-TYPE].NAME=VALUE"),
            ("type=image,annotation-nothing.a=x", "the type is manifest"),
            ("type=image,else=x", "else= is unknown for type=image"),
            ("type=nonsense", "type"),
            ("type=image,name=a,push-by-digest=true", "needs push=true"),
            ("type=registry,name=r:5000/a:1,push-by-digest=true", "no tag"),
            ("dest=a", "type="),
            ("type=oci,tar=maybe,dest=a", "tar"),
            ("type=oci,tar=false,dest=-", "tar=false"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.message().contains(word), "{text}: {}", problem.message());
        }
    }
}

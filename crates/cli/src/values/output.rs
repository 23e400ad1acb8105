//! Values of `--output`.

use std::path::PathBuf;

use xbuild_build::request::{LayerForm, Output, Target};
use xbuild_layer::Encoding;
use xbuild_model::manifest::Compression;

use super::csv;
use super::names::references;
use crate::report::Problem;

/// Reads a value of `--output`.
///
/// **Source** — `docker buildx build` reference, § --output: `type=..,key=value,..`, or a folder
/// alone, or `-` for a tar file on standard output.
pub(crate) fn parse(text: &str) -> Result<Output, Problem> {
    if text == "-" {
        return Ok(Output { target: Target::Tar(None), layers: LayerForm::default() });
    }
    if !text.contains('=') {
        let target = Target::Local(PathBuf::from(text));
        return Ok(Output { target, layers: LayerForm::default() });
    }
    let mut attributes = Attributes::parse(text)?;
    let kind = attributes.take("type").unwrap_or_default();
    let layers = match kind.as_str() {
        "oci" | "image" | "registry" => attributes.layer_form()?,
        _ => LayerForm::default(),
    };
    let target = match kind.as_str() {
        "oci" => {
            let folder = attributes.flag("tar")? == Some(false);
            match (attributes.dest(), folder) {
                (Some(Some(dest)), true) => Target::OciFolder(dest),
                (_, true) => return Err(attributes.fail("tar=false needs dest=FOLDER")),
                (Some(dest), false) => Target::OciTar(dest),
                (None, false) => return Err(attributes.fail("type=oci needs dest=FILE or dest=-")),
            }
        }
        "tar" => match attributes.dest() {
            Some(dest) => Target::Tar(dest),
            None => return Err(attributes.fail("type=tar needs dest=FILE or dest=-")),
        },
        "local" => match attributes.dest().flatten() {
            Some(dest) => Target::Local(dest),
            None => return Err(attributes.fail("type=local needs dest=FOLDER")),
        },
        "image" | "registry" => {
            let names = attributes.take("name").unwrap_or_default();
            let push = attributes.flag("push")?.unwrap_or(kind == "registry");
            let names = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
            let names: Vec<String> = names.collect();
            let by_digest = attributes.by_digest(&names, push)?;
            Target::Image { names: references(&names)?, push, by_digest }
        }
        "cacheonly" => Target::CacheOnly,
        "docker" => {
            return Err(attributes
                .fail("type=docker is not implemented yet: use type=oci, which Docker can load"));
        }
        "" => return Err(attributes.fail("type= is missing")),
        _ => return Err(attributes.fail("the type is one of oci, tar, local, image, registry")),
    };
    attributes.finish()?;
    Ok(Output { target, layers })
}

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
            attributes.list.push((key.trim().to_ascii_lowercase(), value.to_owned()));
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

    /// Takes `push-by-digest` and `name-canonical`.
    ///
    /// **Source** — BuildKit, README § Output. The result of a push by digest is always named by its
    /// digest, so `name-canonical` changes nothing then.
    fn by_digest(&mut self, names: &[String], push: bool) -> Result<bool, Problem> {
        let by_digest = self.flag("push-by-digest")?.unwrap_or_default();
        if self.flag("name-canonical")? == Some(true) && !by_digest {
            return Err(
                self.fail("name-canonical=true is implemented with push-by-digest=true only")
            );
        }
        let has_tag =
            |name: &String| name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        match by_digest {
            false => Ok(false),
            true if !push => Err(self.fail("push-by-digest=true needs push=true or type=registry")),
            true if names.is_empty() => Err(self.fail("push-by-digest=true needs name=REPOSITORY")),
            true if names.iter().any(has_tag) => {
                Err(self.fail("push-by-digest=true gives no tag: leave it out of name="))
            }
            true => Ok(true),
        }
    }

    /// Takes the attributes of compression.
    ///
    /// **Source** — BuildKit, `docs/exporters`: `compression`, `compression-level`,
    /// `force-compression`.
    fn layer_form(&mut self) -> Result<LayerForm, Problem> {
        let compression = match self.take("compression").as_deref() {
            None | Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => Compression::None,
            Some("estargz") => {
                return Err(self.fail(
                    "compression=estargz is not implemented: use gzip, which every reader of \
                     estargz can read, or zstd",
                ));
            }
            Some(_) => return Err(self.fail("compression is gzip, zstd or uncompressed")),
        };
        let level = self.take("compression-level");
        let levels = match compression {
            Compression::Gzip => "compression-level of gzip is 0 to 9",
            Compression::Zstd => "compression-level of zstd is 0 to 22",
            Compression::None => "compression-level has no meaning with compression=uncompressed",
        };
        let level = level.map(|level| level.parse().map_err(|_| self.fail(levels))).transpose()?;
        let encoding = Encoding::new(compression, level).ok_or_else(|| self.fail(levels))?;
        if compression == Compression::Zstd && self.flag("oci-mediatypes")? == Some(false) {
            return Err(self.fail("Docker has no media type for zstd: leave out oci-mediatypes"));
        }
        Ok(LayerForm { encoding, force: self.flag("force-compression")?.unwrap_or(false) })
    }

    fn fail(&self, reason: &str) -> Problem {
        Problem::command_line(format!("invalid --output {:?}: {reason}", self.text))
    }

    fn finish(self) -> Result<(), Problem> {
        match self.list.first() {
            None => Ok(()),
            Some((key, _)) if key.contains("compression") => {
                Err(self.fail(&format!("{key}= is for type=image, registry and oci")))
            }
            Some((key, _)) => Err(self.fail(&format!("{key}= is unknown or not implemented yet"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_reads() {
        let path = |text: &str| PathBuf::from(text);
        for (text, expected) in [
            ("-", Target::Tar(None)),
            ("out", Target::Local(path("out"))),
            ("type=local,dest=out", Target::Local(path("out"))),
            ("type=tar,dest=-", Target::Tar(None)),
            ("type=oci,dest=a.tar", Target::OciTar(Some(path("a.tar")))),
            ("type=oci,\"dest=a,b\",tar=false", Target::OciFolder(path("a,b"))),
            ("type=image", Target::Image { names: vec![], push: false, by_digest: false }),
            (
                "type=registry,\"name=r.example/a,r.example/b\"",
                Target::Image {
                    names: vec!["r.example/a".parse().unwrap(), "r.example/b".parse().unwrap()],
                    push: true,
                    by_digest: false,
                },
            ),
            (
                "type=image,name=a:1,push=true",
                Target::Image { names: vec!["a:1".parse().unwrap()], push: true, by_digest: false },
            ),
            (
                "type=image,name=r.example/a,push-by-digest=true,name-canonical=true,push=true",
                Target::Image {
                    names: vec!["r.example/a".parse().unwrap()],
                    push: true,
                    by_digest: true,
                },
            ),
            ("type=cacheonly", Target::CacheOnly),
        ] {
            let layers = LayerForm::default();
            let expected = Output { target: expected, layers };
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
            assert_eq!(form(text), LayerForm { encoding, force }, "{text}");
        }
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
            ("type=tar,dest=a,compression=gzip", "type=image, registry and oci"),
            ("type=local,dest=a,force-compression=true", "type=image, registry and oci"),
            ("type=docker,dest=a", "type=docker"),
            ("type=nonsense", "type"),
            ("type=image,name=a,push-by-digest=true", "needs push=true"),
            ("type=registry,push-by-digest=true", "needs name="),
            ("type=registry,name=r:5000/a:1,push-by-digest=true", "no tag"),
            ("type=registry,name=a,name-canonical=true", "with push-by-digest"),
            ("dest=a", "type="),
            ("type=oci,tar=maybe,dest=a", "tar"),
            ("type=oci,tar=false,dest=-", "tar=false"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.message().contains(word), "{text}: {}", problem.message());
        }
    }
}

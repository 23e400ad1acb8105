//! Values of `--cache-from` and `--cache-to`.

use std::path::PathBuf;

use xbuild_build::request::{
    CacheFrom, CacheMode, CacheMountsTo, CachePlaceRequest, CacheRequest, CacheTo,
};
use xbuild_model::Reference;
use xbuild_wording::quoted;

use super::{bytes, compression, csv};
use crate::report::Problem;

/// Reads the values of both options.
///
/// **Source** — `docker buildx build` reference, § --cache-from, § --cache-to: `type=..,key=value,..`,
/// or the name of a repository alone.
pub(crate) fn parse(from: &[String], to: &[String]) -> Result<CacheRequest, Problem> {
    let from = from.iter().map(|text| from_value(text)).collect::<Result<_, _>>()?;
    let to = to.iter().map(|text| to_value(text)).collect::<Result<_, _>>()?;
    Ok(CacheRequest { from, to, ..CacheRequest::default() })
}

/// Reads the values of `--cache-mounts-from` and `--cache-mounts-to`.
pub(crate) fn add_mounts(
    request: &mut CacheRequest,
    from: &[String],
    to: &[String],
) -> Result<(), Problem> {
    let read = |text: &String| from_attributes(Attributes::parse("cache-mounts-from", text)?);
    request.mounts_from = from.iter().map(read).collect::<Result<_, _>>()?;
    request.mounts_to = to.iter().map(|text| mounts_to(text)).collect::<Result<_, _>>()?;
    Ok(())
}

/// Bytes that a cache mount may have unless the user says otherwise.
const MOUNT_LIMIT: u64 = 2 << 30;

fn mounts_to(text: &str) -> Result<CacheMountsTo, Problem> {
    let mut attributes = Attributes::parse("cache-mounts-to", text)?;
    let (place, tag) = attributes.place(&["dest"])?;
    let limit = match attributes.take("max-size") {
        None => MOUNT_LIMIT,
        Some(size) => bytes::parse(&size).ok_or_else(|| {
            attributes.fail("max-size is a number of bytes, or one with b, k, m or g")
        })?,
    };
    let key = attributes.take("sign").map(PathBuf::from);
    let scope = attributes.take("scope").unwrap_or(tag);
    attributes.finish()?;
    Ok(CacheMountsTo { place, scope, key, limit })
}

/// Kinds of caches that are refused, each with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "inline",
        "an image holds no steps here; type=registry,mode=min writes those of the image to a \
         repository, which may be that of the image",
    ),
    ("gha", "use type=registry with a repository of ghcr.io, or type=local with actions/cache"),
    ("s3", "use type=registry, or type=local and copy the folder with the tools of the provider"),
    (
        "azblob",
        "use type=registry, or type=local and copy the folder with the tools of the provider",
    ),
];

/// Attributes that BuildKit has and that nothing here depends on, with the only value that is meant in
/// any case.
const GIVEN: &[(&str, &str)] =
    &[("image-manifest", "true"), ("oci-mediatypes", "true"), ("ignore-error", "true")];

/// The comma-separated `key=value` list.
struct Attributes<'a> {
    option: &'static str,
    text: &'a str,
    list: Vec<(String, String)>,
}

/// Reads a value of `--cache-from`.
pub(crate) fn from_value(text: &str) -> Result<CacheFrom, Problem> {
    from_attributes(Attributes::parse("cache-from", text)?)
}

fn from_attributes(mut attributes: Attributes<'_>) -> Result<CacheFrom, Problem> {
    let (place, tag) = attributes.place(&["src"])?;
    let keys = attributes.take_all("verify").into_iter().map(PathBuf::from).collect();
    let scope = attributes.take("scope").unwrap_or(tag);
    attributes.finish()?;
    Ok(CacheFrom { place, scope, keys })
}

fn to_value(text: &str) -> Result<CacheTo, Problem> {
    let mut attributes = Attributes::parse("cache-to", text)?;
    let (place, tag) = attributes.place(&["dest"])?;
    let mode = match attributes.take("mode").as_deref() {
        None | Some("min") => CacheMode::Min,
        Some("max") => CacheMode::Max,
        Some(_) => return Err(attributes.fail("mode is min or max")),
    };
    let compression = attributes.take("compression");
    let level = attributes.take("compression-level");
    let encoding = match (&compression, &level) {
        (None, None) => None,
        _ => {
            let encoding = compression::encoding(compression.as_deref(), level.as_deref());
            Some(encoding.map_err(|reason| attributes.fail(reason))?)
        }
    };
    // Layers of steps are all that is written, and those have the compression that is asked for.
    match attributes.take("force-compression").as_deref() {
        None | Some("true" | "false") => {}
        Some(_) => return Err(attributes.fail("force-compression is true or false")),
    }
    let key = attributes.take("sign").map(PathBuf::from);
    let scope = attributes.take("scope").unwrap_or(tag);
    attributes.finish()?;
    Ok(CacheTo { place, scope, mode, encoding, key })
}

impl<'a> Attributes<'a> {
    fn parse(option: &'static str, text: &'a str) -> Result<Self, Problem> {
        let mut attributes = Self { option, text, list: Vec::new() };
        if !text.contains('=') {
            attributes.list.push(("type".to_owned(), "registry".to_owned()));
            attributes.list.push(("ref".to_owned(), text.to_owned()));
            return Ok(attributes);
        }
        for part in csv::split(text) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(attributes.fail("each part is key=value"));
            };
            attributes.list.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        }
        Ok(attributes)
    }

    /// Takes the last value of a key.
    fn take(&mut self, key: &str) -> Option<String> {
        self.take_all(key).pop()
    }

    fn take_all(&mut self, key: &str) -> Vec<String> {
        self.list.extract_if(.., |(name, _)| name == key).map(|(_, value)| value).collect()
    }

    /// Takes the place, and its default scope: the tag.
    fn place(&mut self, folder: &[&str]) -> Result<(CachePlaceRequest, String), Problem> {
        let kind = self.take("type").unwrap_or_default();
        match kind.as_str() {
            "registry" => {
                let name = self.take("ref").ok_or_else(|| self.fail("type=registry needs ref="))?;
                let name: Reference = name.parse().map_err(|error| {
                    self.fail(&format!("ref={name} is not the name of a repository: {error}"))
                })?;
                match (name.digest(), name.tag()) {
                    (Some(_), _) => Err(self.fail("ref= names a repository, and a digest is none")),
                    (None, tag) => {
                        let tag = tag.unwrap_or("latest").to_owned();
                        Ok((CachePlaceRequest::Registry(name), tag))
                    }
                }
            }
            "local" => {
                let path = folder.iter().find_map(|key| self.take(key));
                let key = folder[0];
                let path = path.filter(|path| !path.is_empty());
                let path =
                    path.ok_or_else(|| self.fail(&format!("type=local needs {key}=FOLDER")))?;
                let tag = self.take("tag").unwrap_or_else(|| "latest".to_owned());
                Ok((CachePlaceRequest::Layout(PathBuf::from(path)), tag))
            }
            "" => Err(self.fail("type= is missing")),
            other => match REFUSED.iter().find(|(name, _)| *name == other) {
                Some((_, advice)) => {
                    Err(self.fail(&format!("type={other} is not implemented: {advice}")))
                }
                None => Err(self.fail("the type is registry or local")),
            },
        }
    }

    fn fail(&self, reason: &str) -> Problem {
        Problem::command_line(format!("invalid --{} {}: {reason}", self.option, quoted(&self.text)))
    }

    fn finish(mut self) -> Result<(), Problem> {
        for (key, value) in GIVEN {
            match self.take(key) {
                Some(given) if given != *value => {
                    return Err(self.fail(&format!("{key}={given} is not implemented")));
                }
                _ => {}
            }
        }
        match self.list.first() {
            None => Ok(()),
            Some((key, _)) if key == "digest" => Err(self.fail(
                "digest= is not implemented: a cache is many documents, each with a tag of its own",
            )),
            Some((key, _)) if key == "reset" => Err(self.fail(
                "reset= is not implemented: `xbuild cache prune` removes what no build uses",
            )),
            Some((key, _)) => Err(self.fail(&format!("{key}= is unknown"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use xbuild_layer::Encoding;
    use xbuild_model::manifest::Compression;

    use super::*;

    fn registry(name: &str) -> CachePlaceRequest {
        CachePlaceRequest::Registry(name.parse().unwrap())
    }

    fn from(place: CachePlaceRequest, scope: &str, keys: &[&str]) -> CacheFrom {
        CacheFrom { place, scope: scope.to_owned(), keys: keys.iter().map(PathBuf::from).collect() }
    }

    #[test]
    fn reads_what_buildx_reads() {
        let layout = CachePlaceRequest::Layout("c".into());
        for (text, expected) in [
            ("r.example/c:main", from(registry("r.example/c:main"), "main", &[])),
            ("r.example/c", from(registry("r.example/c:latest"), "latest", &[])),
            ("type=registry,ref=r.example/c:x", from(registry("r.example/c:x"), "x", &[])),
            (
                "type=registry,ref=r.example/c,scope=a b,verify=k,verify=l",
                from(registry("r.example/c"), "a b", &["k", "l"]),
            ),
            ("type=local,src=c", from(layout.clone(), "latest", &[])),
            ("type=local,src=c,tag=t", from(layout.clone(), "t", &[])),
        ] {
            assert_eq!(from_value(text).unwrap(), expected, "{text}");
        }
        let to = CacheTo {
            place: layout,
            scope: "latest".to_owned(),
            mode: CacheMode::Min,
            encoding: None,
            key: None,
        };
        let zstd = Encoding::new(Compression::Zstd, Some(9));
        for (text, expected) in [
            ("type=local,dest=c", to.clone()),
            (
                "type=local,dest=c,mode=max,ignore-error=true",
                CacheTo { mode: CacheMode::Max, ..to.clone() },
            ),
            (
                "type=local,dest=c,compression=zstd,compression-level=9,force-compression=true,sign=k",
                CacheTo { encoding: zstd, key: Some("k".into()), ..to },
            ),
        ] {
            assert_eq!(to_value(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn reads_places_of_cache_mounts() {
        let texts = |text: &str| [text.to_owned()];
        let mut request = CacheRequest::default();
        let to = texts("type=registry,ref=r.example/c:x,max-size=4g,sign=k");
        add_mounts(&mut request, &texts("r.example/c:x"), &to).unwrap();
        assert_eq!(request.mounts_from, [from(registry("r.example/c:x"), "x", &[])]);
        let [to] = &request.mounts_to[..] else { panic!("one") };
        assert_eq!((to.limit, to.scope.as_str()), (4 << 30, "x"));
        for bad in ["type=local,dest=c,mode=max", "type=local,dest=c,max-size=0", "type=gha"] {
            assert!(mounts_to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_the_rest_by_name() {
        for (text, word) in [
            ("type=gha", "ghcr.io"),
            ("type=s3,bucket=b", "type=registry"),
            ("type=azblob,name=n", "type=registry"),
            ("type=inline", "mode=min"),
            ("type=x", "registry or local"),
            ("mode=max", "type= is missing"),
            ("type=registry", "needs ref="),
            ("type=registry,ref=UPPER", "not the name of a repository"),
            (
                "type=registry,ref=a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                "digest is none",
            ),
            ("type=local", "needs dest=FOLDER"),
            ("type=local,dest=c,mode=mid", "min or max"),
            ("type=local,dest=c,compression=estargz", "estargz"),
            ("type=local,dest=c,compression=gzip,compression-level=10", "0 to 9"),
            ("type=local,dest=c,oci-mediatypes=false", "oci-mediatypes=false"),
            ("type=local,dest=c,reset=true", "cache prune"),
            ("type=local,dest=c,x=y", "x= is unknown"),
        ] {
            let error = format!("{:?}", to_value(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(from_value("type=local,src=c,digest=x").is_err());
        assert!(from_value("type=local,src=c,mode=max").is_err());
    }
}

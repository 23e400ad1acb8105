//! `-o/--output`: what was typed, and what it means.

use std::path::PathBuf;

use crate::report::Problem;

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// An OCI layout: a tar file, `None` for standard output, or a folder.
    OciTar(Option<PathBuf>),
    /// An OCI layout as a folder.
    OciFolder(PathBuf),
    /// The files of the image as a tar file, `None` for standard output.
    Tar(Option<PathBuf>),
    /// The files of the image as a folder.
    Local(PathBuf),
    /// The store, under these names besides the tags; pushed if so asked.
    Image {
        /// Further names.
        names: Vec<String>,
        /// Whether to push.
        push: bool,
    },
    /// Nothing is kept but the cache.
    CacheOnly,
}

impl Output {
    /// Returns whether the result goes to standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::OciTar(None) | Self::Tar(None))
    }
}

/// Reads a value of `--output`.
///
/// **Source** — `docker buildx build` reference, § --output: `type=..,key=value,..`, or a folder
/// alone, or `-` for a tar file on standard output.
pub(crate) fn parse(text: &str) -> Result<Output, Problem> {
    if text == "-" {
        return Ok(Output::Tar(None));
    }
    if !text.contains('=') {
        return Ok(Output::Local(PathBuf::from(text)));
    }
    let mut attributes = Attributes::parse(text)?;
    let kind = attributes.take("type").unwrap_or_default();
    let output = match kind.as_str() {
        "oci" => {
            let folder = attributes.flag("tar")? == Some(false);
            match (attributes.dest(), folder) {
                (Some(Some(dest)), true) => Output::OciFolder(dest),
                (_, true) => return Err(attributes.fail("tar=false needs dest=FOLDER")),
                (Some(dest), false) => Output::OciTar(dest),
                (None, false) => return Err(attributes.fail("type=oci needs dest=FILE or dest=-")),
            }
        }
        "tar" => match attributes.dest() {
            Some(dest) => Output::Tar(dest),
            None => return Err(attributes.fail("type=tar needs dest=FILE or dest=-")),
        },
        "local" => match attributes.dest().flatten() {
            Some(dest) => Output::Local(dest),
            None => return Err(attributes.fail("type=local needs dest=FOLDER")),
        },
        "image" | "registry" => {
            let names = attributes.take("name").unwrap_or_default();
            let push = attributes.flag("push")?.unwrap_or(kind == "registry");
            let names = names.split(',').filter(|name| !name.is_empty());
            Output::Image { names: names.map(str::to_owned).collect(), push }
        }
        "cacheonly" => Output::CacheOnly,
        "docker" => {
            return Err(attributes
                .fail("type=docker is not implemented yet: use type=oci, which Docker can load"));
        }
        "" => return Err(attributes.fail("type= is missing")),
        _ => return Err(attributes.fail("the type is one of oci, tar, local, image, registry")),
    };
    attributes.finish()?;
    Ok(output)
}

/// The comma-separated `key=value` list; a part in double quotes may hold commas.
struct Attributes<'a> {
    text: &'a str,
    list: Vec<(String, String)>,
}

impl<'a> Attributes<'a> {
    fn parse(text: &'a str) -> Result<Self, Problem> {
        let mut attributes = Self { text, list: Vec::new() };
        for part in split_csv(text) {
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

    fn fail(&self, reason: &str) -> Problem {
        Problem::command_line(format!("invalid --output {:?}: {reason}", self.text))
    }

    fn finish(self) -> Result<(), Problem> {
        match self.list.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.fail(&format!("{key}= is unknown or not implemented yet"))),
        }
    }
}

/// Splits a line of comma-separated values; a part in double quotes may hold commas.
pub(crate) fn split_csv(text: &str) -> Vec<String> {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_reads() {
        let path = |text: &str| PathBuf::from(text);
        for (text, expected) in [
            ("-", Output::Tar(None)),
            ("out", Output::Local(path("out"))),
            ("type=local,dest=out", Output::Local(path("out"))),
            ("type=tar,dest=-", Output::Tar(None)),
            ("type=oci,dest=a.tar", Output::OciTar(Some(path("a.tar")))),
            ("type=oci,\"dest=a,b\",tar=false", Output::OciFolder(path("a,b"))),
            ("type=image", Output::Image { names: vec![], push: false }),
            (
                "type=registry,\"name=r.example/a,r.example/b\"",
                Output::Image {
                    names: vec!["r.example/a".into(), "r.example/b".into()],
                    push: true,
                },
            ),
            (
                "type=image,name=a:1,push=true",
                Output::Image { names: vec!["a:1".into()], push: true },
            ),
            ("type=cacheonly", Output::CacheOnly),
        ] {
            assert_eq!(parse(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_by_name() {
        for (text, word) in [
            ("type=oci", "dest"),
            ("type=oci,dest=a,compression=zstd", "compression"),
            ("type=docker,dest=a", "type=docker"),
            ("type=nonsense", "type"),
            ("dest=a", "type="),
            ("type=oci,tar=maybe,dest=a", "tar"),
            ("type=oci,tar=false,dest=-", "tar=false"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.message().contains(word), "{text}: {}", problem.message());
        }
    }
}

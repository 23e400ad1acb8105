//! Values with a place for the platform: `Dockerfile.{arch}`, `app:{platform}-1`.

use xbuild_model::Platform;

/// The names that braces may hold, and what stands for them.
const NAMES: &str = "{arch} (amd64, arm32v7, arm64v8, i386 ...), {goarch} (amd64, arm, arm64, 386 \
                     ...), {platform} (linux-arm-v7)";

/// A text that was cut at its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Arch,
    Goarch,
    Platform,
}

impl Template {
    /// Reads a text; `None` if it has no brace.
    ///
    /// **Errors** — a sentence: a brace has no partner, or the name between two is not one of the
    /// three.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        if !text.contains(['{', '}']) {
            return Ok(None);
        }
        let unmatched = || format!("a brace without a partner; in braces may be {NAMES}");
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(brace) = rest.find(['{', '}']) {
            let (before, inside) = rest.split_at(brace);
            parts.push(Part::Text(before.to_owned()));
            let inside = inside.strip_prefix('{').ok_or_else(unmatched)?;
            let (name, after) = inside.split_once('}').ok_or_else(unmatched)?;
            parts.push(match name {
                "arch" => Part::Arch,
                "goarch" => Part::Goarch,
                "platform" => Part::Platform,
                _ => return Err(format!("unknown {{{name}}}; in braces may be {NAMES}")),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Some(Self(parts)))
    }

    /// Returns the text for a platform.
    pub(crate) fn expand(&self, platform: &Platform) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Arch => platform.library_name(),
            Part::Goarch => platform.architecture().to_owned(),
            Part::Platform => platform.to_string().replace('/', "-"),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_the_platform() {
        let expand = |text: &str, platform: &str| {
            Template::parse(text).unwrap().unwrap().expand(&platform.parse().unwrap())
        };
        assert_eq!(expand("r/a:{arch}-1", "linux/arm64"), "r/a:arm64v8-1");
        assert_eq!(expand("{goarch}/{arch}", "linux/arm/v6"), "arm/arm32v6");
        assert_eq!(expand("a-{platform}", "linux/arm/v7"), "a-linux-arm-v7");
        assert_eq!(Template::parse("Dockerfile").unwrap(), None);
        for bad in ["a{", "a}", "{arch", "{}", "{Arch}", "{os}", "{{arch}}", "}{"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}

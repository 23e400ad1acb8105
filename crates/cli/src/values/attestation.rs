//! Values of `--attest`, and of its short forms `--provenance` and `--sbom`.

use xbuild_attest::SlsaVersion;
use xbuild_build::request::{Attestations, MetadataProvenance, ProvenanceRequest};
use xbuild_wording::quoted;

use super::csv;
use crate::report::Problem;

/// Reads the attestations that a command line asks for; of each type the last value counts, and a
/// short form counts more.
///
/// **Source** — `docker buildx build` reference, § --attest; BuildKit,
/// `docs/attestations/slsa-provenance.md` § Parameters.
pub(crate) fn parse(
    attest: &[String],
    provenance: Option<&str>,
    sbom: Option<&str>,
) -> Result<Attestations, Problem> {
    let long = attest.iter().map(|text| Value::long(text));
    let short = [("provenance", provenance), ("sbom", sbom)];
    let short = short.into_iter().filter_map(|(kind, text)| Some(Ok(Value::short(kind, text?))));
    let mut attestations = Attestations::default();
    for value in long.chain(short) {
        let value = value?;
        match &*value.kind {
            "provenance" => attestations.provenance = value.provenance()?,
            "sbom" => attestations.sbom = value.sbom()?,
            _ => return Err(value.fail("the type is provenance or sbom")),
        }
    }
    Ok(attestations)
}

/// Reads the value of `BUILDX_METADATA_PROVENANCE`: as much of the provenance as a metadata file has.
///
/// **Source** — `docker buildx build` reference, § --metadata-file.
pub(crate) fn for_metadata(text: &str) -> Result<Option<MetadataProvenance>, Problem> {
    match (text, flag(text)) {
        ("" | "min", _) | (_, Some(true)) => Ok(Some(MetadataProvenance::Min)),
        ("max", _) => Ok(Some(MetadataProvenance::Max)),
        ("disabled", _) | (_, Some(false)) => Ok(None),
        _ => Err(Problem::command_line(format!(
            "BUILDX_METADATA_PROVENANCE={text}: it is min, max or disabled"
        ))),
    }
}

/// A value as it was written.
struct Value<'a> {
    option: &'static str,
    text: &'a str,
    kind: String,
    /// The members but for the type.
    members: Vec<(String, String)>,
}

impl<'a> Value<'a> {
    fn long(text: &'a str) -> Result<Self, Problem> {
        let mut value = Self { option: "attest", text, kind: String::new(), members: Vec::new() };
        value.read();
        let place = value.members.iter().rposition(|(name, _)| name == "type");
        let Some(place) = place else { return Err(value.fail("type= is missing")) };
        value.kind = value.members.remove(place).1;
        Ok(value)
    }

    fn short(kind: &'static str, text: &'a str) -> Self {
        let mut value = Self { option: kind, text, kind: kind.to_owned(), members: Vec::new() };
        match flag(text) {
            Some(is_on) => value.members.push(("disabled".to_owned(), (!is_on).to_string())),
            None => value.read(),
        }
        value
    }

    fn read(&mut self) {
        for part in csv::split(self.text) {
            let (name, value) = part.split_once('=').unwrap_or((&part, ""));
            self.members.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// Returns what is asked for of a provenance; `None` if it is turned off.
    fn provenance(&self) -> Result<Option<ProvenanceRequest>, Problem> {
        let mut request = ProvenanceRequest::default();
        let mut is_off = false;
        for (name, value) in &self.members {
            let options = &mut request.options;
            match (&**name, &**value) {
                ("mode", "min") => options.is_max = false,
                ("mode", "max" | "full") => options.is_max = true,
                ("mode", _) => return Err(self.fail("mode is min or max")),
                ("version", "v1") => options.version = SlsaVersion::V1,
                ("version", "v0.2") => options.version = SlsaVersion::V02,
                ("version", _) => return Err(self.fail("version is v1 or v0.2")),
                ("builder-id", id) => id.clone_into(&mut options.builder_id),
                ("reproducible", text) => options.reproducible = self.flag(name, text)?,
                ("inline-only", text) => request.inline_only = self.flag(name, text)?,
                ("disabled", text) => is_off = self.flag(name, text)?,
                ("filename", file) if is_file_name(file) => file.clone_into(&mut request.file),
                ("filename", _) => return Err(self.fail("filename is the name of one file")),
                ("capture-usage" | "complete-materials", text) if !self.flag(name, text)? => {}
                ("capture-usage", _) => {
                    return Err(self.fail(
                        "capture-usage= is not implemented: no cgroups are made. Leave it out; \
                         --timeline FILE has the time of each step",
                    ));
                }
                ("complete-materials", _) => {
                    return Err(self.fail(
                        "complete-materials= is not implemented. Leave it out; --locked refuses a \
                         build whose sources are not pinned",
                    ));
                }
                ("generator", _) => return Err(self.fail("generator= is for type=sbom")),
                _ => return Err(self.fail(&format!("{name}= is unknown for type=provenance"))),
            }
        }
        Ok((!is_off).then_some(request))
    }

    /// Returns whether a bill of materials is asked for.
    fn sbom(&self) -> Result<bool, Problem> {
        let mut is_on = true;
        for (name, value) in &self.members {
            match &**name {
                "disabled" => is_on = !self.flag(name, value)?,
                "generator" => {
                    return Err(self.fail(
                        "generator= is not implemented: no image is run for it. Leave it out, and \
                         xbuild itself reads the package managers' files",
                    ));
                }
                _ => return Err(self.fail(&format!("{name}= is unknown for type=sbom"))),
            }
        }
        Ok(is_on)
    }

    fn flag(&self, name: &str, text: &str) -> Result<bool, Problem> {
        flag(text).ok_or_else(|| self.fail(&format!("{name} is true or false")))
    }

    fn fail(&self, reason: &str) -> Problem {
        let Self { option, text, .. } = self;
        Problem::command_line(format!("invalid --{option} {text}: {reason}", text = quoted(&text)))
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn is_file_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(attest: &[&str], provenance: Option<&str>) -> Result<Attestations, Problem> {
        let attest: Vec<String> = attest.iter().map(|text| (*text).to_owned()).collect();
        parse(&attest, provenance, None)
    }

    #[test]
    fn reads_what_buildx_reads() {
        let of = |attest: &[&str], provenance| all(attest, provenance).unwrap().provenance;
        assert_eq!(of(&[], None), None);
        assert_eq!(of(&["type=provenance"], None), Some(ProvenanceRequest::default()));
        assert_eq!(of(&[], Some("true")), Some(ProvenanceRequest::default()));
        assert_eq!(of(&["type=provenance"], Some("false")), None);
        assert_eq!(of(&["type=provenance,disabled=true"], None), None);
        let text = "mode=max,version=v0.2,builder-id=https://ci.example/1,filename=p.json,\
                    reproducible=true,inline-only=1";
        let request = of(&["type=provenance,mode=min"], Some(text)).unwrap();
        assert!(request.options.is_max && request.options.reproducible && request.inline_only);
        assert_eq!(request.options.version, SlsaVersion::V02);
        assert_eq!(request.options.builder_id, "https://ci.example/1");
        assert_eq!(request.file, "p.json");
        assert!(
            all(&["type=sbom"], None).unwrap().sbom && parse(&[], None, Some("true")).unwrap().sbom
        );
        assert!(!parse(&["type=sbom".to_owned()], None, Some("0")).unwrap().sbom);
    }

    #[test]
    fn a_metadata_file_has_little_unless_more_is_asked_for() {
        for (text, expected) in [
            ("", Some(MetadataProvenance::Min)),
            ("min", Some(MetadataProvenance::Min)),
            ("true", Some(MetadataProvenance::Min)),
            ("max", Some(MetadataProvenance::Max)),
            ("disabled", None),
            ("0", None),
        ] {
            assert_eq!(for_metadata(text).unwrap(), expected, "{text}");
        }
        let problem = for_metadata("most").unwrap_err();
        assert!(problem.message().contains("BUILDX_METADATA_PROVENANCE=most"));
    }

    #[test]
    fn refuses_by_name() {
        for (text, word) in [
            ("mode=max", "type="),
            ("type=other", "the type is"),
            ("type=provenance,mode=most", "mode"),
            ("type=provenance,version=v2", "version"),
            ("type=provenance,reproducible=maybe", "reproducible"),
            ("type=provenance,filename=a/b", "filename"),
            ("type=provenance,capture-usage=true", "capture-usage"),
            ("type=provenance,generator=image", "generator"),
            ("type=provenance,else=1", "else="),
            ("type=sbom,generator=docker/scanner", "generator="),
            ("type=sbom,mode=max", "mode="),
        ] {
            let problem = all(&[text], None).unwrap_err();
            assert!(problem.message().contains(word), "{text}: {}", problem.message());
        }
    }
}

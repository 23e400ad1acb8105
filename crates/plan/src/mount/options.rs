//! The options of one `--mount`, expanded and checked.

use xbuild_dockerfile::{Mount, suggest};
use xbuild_model::run::Sharing;

use crate::error::{MountError, PlanError};
use crate::paths;
use crate::variables::Expander;

/// All options, in the order of suggestions.
const NAMES: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "id",
    "sharing",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// The types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Bind, Kind::Cache, Kind::Tmpfs, Kind::Secret, Kind::Ssh];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Bind => "bind",
            Kind::Cache => "cache",
            Kind::Tmpfs => "tmpfs",
            Kind::Secret => "secret",
            Kind::Ssh => "ssh",
        }
    }

    fn parse(text: &str) -> Result<Self, MountError> {
        let lower = text.to_lowercase();
        Kind::ALL.into_iter().find(|kind| kind.name() == lower).ok_or_else(|| MountError::Type {
            name: text.to_owned(),
            suggestion: suggest(text, Kind::ALL.map(Kind::name)),
        })
    }
}

/// The bits of a mode that have an effect, as measured: `mode=1777` gives 0777.
pub(super) const PERMISSIONS: u32 = 0o777;

/// The options as written. An empty text counts as absent.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) kind: Kind,
    pub(super) from: Option<String>,
    pub(super) source: Option<String>,
    pub(super) target: Option<String>,
    pub(super) id: Option<String>,
    pub(super) env: Option<String>,
    pub(super) sharing: Option<Sharing>,
    /// Bytes; 0 is no limit.
    pub(super) size: Option<u64>,
    /// As written: see [`PERMISSIONS`].
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) read_only: Option<bool>,
    pub(super) required: Option<bool>,
}

impl Options {
    /// Reads the options of a mount. The last one of each name counts.
    ///
    /// **Errors**: `Expand`, `Mount`.
    ///
    /// **Source**: Dockerfile reference § RUN --mount.
    pub(super) fn read(mount: &Mount, expander: &Expander<'_>) -> Result<Self, PlanError> {
        let error = |error: MountError| PlanError::new(error, expander.span);
        let mut options = Options::default();
        for option in &mount.options {
            match &option.value {
                None => options.set_bare(&option.key).map_err(error)?,
                Some(value) => {
                    let value = expander.word(value)?;
                    options.set(&option.key, value).map_err(error)?;
                }
            }
        }
        options.check().map_err(error)?;
        Ok(options)
    }

    /// Returns whether owner or mode are given, even if with their default values.
    pub(super) fn has_owner_or_mode(&self) -> bool {
        self.mode.is_some() || self.uid.is_some() || self.gid.is_some()
    }

    fn set_bare(&mut self, key: &str) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => self.required = Some(true),
            _ if NAMES.contains(&key) => {
                return Err(MountError::NoValue { name: key.to_owned() });
            }
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), MountError> {
        match key {
            "type" => self.kind = Kind::parse(&value)?,
            "from" => self.from = text(value),
            "source" | "src" => self.source = text(value),
            "target" | "dst" | "destination" => self.target = text(value),
            "id" => self.id = text(value),
            "readonly" | "ro" => self.read_only = Some(boolean("readonly", &value)?),
            "readwrite" | "rw" => self.read_only = Some(!boolean("readwrite", &value)?),
            "required" => self.required = Some(boolean("required", &value)?),
            "sharing" => self.sharing = Some(sharing(&value)?),
            "size" => self.size = Some(size(&value)?),
            "mode" => self.mode = Some(number("mode", &value, 8, "an octal number")?),
            "uid" => self.uid = Some(number("uid", &value, 10, "a number")?),
            "gid" => self.gid = Some(number("gid", &value, 10, "a number")?),
            "env" if !is_variable(&value) => {
                let expected = "the name of a variable";
                return Err(MountError::Value { name: "env", value, expected });
            }
            "env" => self.env = Some(value),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), MountError> {
        use Kind::{Bind, Cache, Secret, Ssh, Tmpfs};
        let allowed: [(_, _, &[Kind]); 8] = [
            ("mode", self.mode.is_some(), &[Cache, Secret, Ssh]),
            ("uid", self.uid.is_some(), &[Cache, Secret, Ssh]),
            ("gid", self.gid.is_some(), &[Cache, Secret, Ssh]),
            ("sharing", self.sharing.is_some(), &[Cache]),
            ("size", self.size.is_some(), &[Tmpfs]),
            ("required", self.required.is_some(), &[Secret, Ssh]),
            ("from", self.from.is_some(), &[Bind, Cache, Tmpfs, Ssh]),
            ("source", self.source.is_some(), &[Bind, Cache, Tmpfs, Secret]),
        ];
        let refused =
            allowed.iter().find(|(_, given, kinds)| *given && !kinds.contains(&self.kind));
        if let Some((name, ..)) = refused {
            return Err(MountError::NotFor { kind: self.kind.name(), name });
        }
        match (self.kind, &self.id, &self.source) {
            (Secret, Some(_), Some(_)) => Err(MountError::IdAndSource),
            (Secret, None, None) if self.target.is_none() => Err(MountError::NamelessSecret),
            (Tmpfs, _, Some(source)) if paths::join("/", source) != "/" => {
                Err(MountError::EmptyTmpfs { source_path: source.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn unknown(key: &str) -> MountError {
    MountError::Option { name: key.to_owned(), suggestion: suggest(key, NAMES) }
}

fn text(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn boolean(name: &'static str, value: &str) -> Result<bool, MountError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(MountError::Value { name, value: value.to_owned(), expected: "true or false" }),
    }
}

fn sharing(value: &str) -> Result<Sharing, MountError> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(MountError::Value {
            name: "sharing",
            value: value.to_owned(),
            expected: "shared, private or locked",
        }),
    }
}

fn number(
    name: &'static str,
    value: &str,
    radix: u32,
    expected: &'static str,
) -> Result<u32, MountError> {
    let error = || MountError::Value { name, value: value.to_owned(), expected };
    if !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error());
    }
    u32::from_str_radix(value, radix).map_err(|_| error())
}

/// Returns the number of bytes in a text such as `64m` or `1.5 GiB`; all units are powers of 1024.
fn size(value: &str) -> Result<u64, MountError> {
    let error = || MountError::Value {
        name: "size",
        value: value.to_owned(),
        expected: "bytes, or a number with a unit such as k, m or g",
    };
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit == "ib" => return Err(error()),
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(error()),
    };
    let bytes = number.parse::<f64>().map_err(|_| error())? * 1024_f64.powi(power);
    // Exact up to 2^53; no memory is larger than that.
    if bytes <= 2_f64.powi(53) { Ok(bytes as u64) } else { Err(error()) }
}

/// Returns whether a variable of a process can have this name.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use xbuild_dockerfile::Span;

    use super::*;
    use crate::variables::Variables;

    fn read(text: &str) -> Result<Options, String> {
        let file = format!("FROM a\nRUN --mount={text} true\n");
        let tree = xbuild_dockerfile::parse("Dockerfile", file.as_bytes()).unwrap();
        let instruction = &tree.stages[0].instructions[0].value;
        let xbuild_dockerfile::Instruction::Run(run) = instruction else { panic!() };
        let mut variables = Variables::default();
        variables.set("V", "value");
        let span = Span::new(&"Dockerfile".into(), 2, 2);
        let expander = Expander { variables: &variables, escape: '\\', span: &span };
        Options::read(&run.mounts[0], &expander).map_err(|error| {
            error.to_string() + &error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default()
        })
    }

    #[test]
    fn writing_to_a_mount_is_a_truth_table() {
        for (text, expected) in [
            ("target=/a", None),
            ("ro,target=/a", Some(true)),
            ("readonly,target=/a", Some(true)),
            ("rw,target=/a", Some(false)),
            ("READWRITE,target=/a", Some(false)),
            ("ro=false,target=/a", Some(false)),
            ("readonly=1,target=/a", Some(true)),
            ("rw=F,target=/a", Some(true)),
            ("ro,rw,target=/a", Some(false)),
        ] {
            assert_eq!(read(text).unwrap().read_only, expected, "{text}");
        }
    }

    #[test]
    fn values_expand_and_the_last_counts() {
        let options = read("type=cache,id=$V,target=/a,dst=/b/${V},mode=01777,uid=7").unwrap();
        assert_eq!(options.id.as_deref(), Some("value"));
        assert_eq!(options.target.as_deref(), Some("/b/value"));
        assert_eq!((options.mode, options.uid, options.gid), (Some(0o1777), Some(7), None));
        assert_eq!(read("Type=SECRET,id=$X,target=/a").unwrap().id, None);
        assert!(read("type=secret,id=a,required=true").unwrap().required == Some(true));
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("64m", Some(64 << 20)),
            ("1.5 GiB", Some(3 << 29)),
            ("2KB", Some(2 << 10)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1ib", None),
            ("1mm", None),
            ("1.2.3", None),
            ("9999999p", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_option() {
        for (text, expected) in [
            (
                "type=bid,target=/a",
                "unknown mount type \"bid\": expected bind, cache, tmpfs, secret or ssh (did you mean bind?)",
            ),
            ("traget=/a", "unknown option \"traget\" of --mount (did you mean target?)"),
            ("bind-propagation=suid,target=/a", "unknown option \"bind-propagation\""),
            ("z", "unknown option \"z\""),
            ("target", "the option \"target\" of --mount needs a value"),
            ("env,type=secret", "the option \"env\" of --mount needs a value"),
            ("ro=maybe", "invalid value \"maybe\" of the mount option readonly: expected true"),
            ("type=cache,sharing=open", "invalid value \"open\" of the mount option sharing"),
            ("type=cache,mode=0o7", "invalid value \"0o7\" of the mount option mode"),
            ("type=cache,uid=root", "invalid value \"root\" of the mount option uid"),
            ("type=secret,id=a,env=A=B", "invalid value \"A=B\" of the mount option env"),
            ("type=bind,mode=0700", "a mount of type bind cannot have the option mode"),
            ("type=tmpfs,gid=1", "a mount of type tmpfs cannot have the option gid"),
            ("type=bind,sharing=shared", "a mount of type bind cannot have the option sharing"),
            ("type=secret,from=a,id=x", "a mount of type secret cannot have the option from"),
            (
                "type=cache,target=/a,required",
                "a mount of type cache cannot have the option required",
            ),
            ("target=/a,required=true", "a mount of type bind cannot have the option required"),
            ("type=tmpfs,target=/a,required", "type tmpfs cannot have the option required"),
            ("type=cache,target=/a,size=5m", "type cache cannot have the option size"),
            ("type=secret,id=a,size=5m", "type secret cannot have the option size"),
            ("type=ssh,size=5m", "type ssh cannot have the option size"),
            ("type=secret,id=a,source=b", "cannot have both id and source"),
            ("type=secret", "a secret mount needs an id, a source or a target"),
            ("type=tmpfs,src=a,target=/a", "the source \"a\" of a tmpfs mount: a tmpfs is empty"),
            ("type=ssh,src=a", "a mount of type ssh cannot have the option source"),
            ("type=bind,,target=/a", "unknown option \"\" of --mount"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}

//! Options of mounts that mean nothing for the mount's type. BuildKit takes them, so they are no
//! errors.

use xbuild_dockerfile::{Instruction, Mount, Spanned};

use crate::warning::Warning;

/// Options, and the types that they mean something for.
const MEANT: [(&str, &[&str]); 7] = [
    ("id", &["cache", "secret", "ssh"]),
    ("env", &["secret"]),
    ("from", &["bind", "cache", "secret"]),
    ("ro", WRITTEN),
    ("readonly", WRITTEN),
    ("rw", WRITTEN),
    ("readwrite", WRITTEN),
];

/// The types of mounts that can be written to or not.
const WRITTEN: &[&str] = &["bind", "cache", "tmpfs"];

/// Returns a warning for each such option of the RUN steps among `instructions`.
pub(crate) fn warnings<'a>(
    instructions: impl Iterator<Item = &'a Spanned<Instruction>>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for instruction in instructions {
        let Instruction::Run(run) = &instruction.value else { continue };
        for (option, kind) in run.mounts.iter().flat_map(idle) {
            let span = instruction.span.clone();
            warnings.push(Warning::MountOption { option: option.to_owned(), kind, span });
        }
    }
    warnings
}

/// Returns the options without effect of one mount, with its type. A type that is a variable is not
/// looked at.
fn idle(mount: &Mount) -> Vec<(&str, String)> {
    let kind = mount.options.iter().rfind(|option| option.key == "type");
    let kind = kind.and_then(|option| option.value.as_deref()).unwrap_or("bind").to_lowercase();
    let keys = mount.options.iter().map(|option| option.key.as_str());
    let is_known = MEANT.iter().any(|(_, kinds)| kinds.contains(&kind.as_str()));
    let is_idle = |key: &&str| {
        let meant = MEANT.iter().find(|(name, _)| name == key);
        is_known && meant.is_some_and(|(_, kinds)| !kinds.contains(&kind.as_str()))
    };
    keys.filter(is_idle).map(|key| (key, kind.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_without_effect_are_named() {
        for (mount, expected) in [
            ("target=/a,id=x,env=Y", "id of bind, env of bind"),
            ("type=bind,from=a,target=/a,rw", ""),
            ("type=CACHE,id=x,target=/a,env=Y,ro,from=a", "env of cache"),
            ("type=tmpfs,from=a,id=x,target=/a,ro", "from of tmpfs, id of tmpfs"),
            ("type=secret,id=x,env=Y,readonly", "readonly of secret"),
            ("type=ssh,from=a,env=Y,id=x,rw=true", "from of ssh, env of ssh, rw of ssh"),
            ("type=$KIND,env=Y,target=/a", ""),
        ] {
            let file = format!("FROM a\nRUN --mount={mount} true\n");
            let tree = xbuild_dockerfile::parse("Dockerfile", file.as_bytes()).unwrap();
            let found = warnings(tree.stages[0].instructions.iter());
            let text = found.iter().map(|warning| match warning {
                Warning::MountOption { option, kind, .. } => format!("{option} of {kind}"),
                other => panic!("{other}"),
            });
            assert_eq!(text.collect::<Vec<_>>().join(", "), expected, "{mount}");
        }
    }
}

//! Values of `--file`: one Dockerfile for all platforms, or one for each.

use std::path::{Path, PathBuf};

use xbuild_build::request::{DockerfilePlace, OwnDockerfile};
use xbuild_model::Platform;
use xbuild_wording::hints;

use super::context;
use super::template::Template;
use crate::report::Problem;

/// The Dockerfiles of a build.
#[derive(Debug, PartialEq)]
pub(crate) struct Dockerfiles {
    /// The one of platforms without one of their own.
    pub(crate) shared: DockerfilePlace,
    /// Those of single platforms.
    pub(crate) own: Vec<OwnDockerfile>,
}

/// A value of `--file`.
enum File {
    /// For all platforms that have none of their own.
    Shared(DockerfilePlace),
    /// For one platform.
    Own(Platform, DockerfilePlace),
    /// For each platform another one.
    Each(Template),
}

/// Reads the values of `--file`. Looks only at whether files with such names exist.
pub(crate) fn parse(files: &[PathBuf], platforms: &[Platform]) -> Result<Dockerfiles, Problem> {
    let (mut shared, mut each, mut own) = (None, None, Vec::<OwnDockerfile>::new());
    for path in files {
        let fail = |reason: String| {
            Problem::command_line(format!("invalid --file {}: {reason}", path.display()))
        };
        match file(path).map_err(fail)? {
            File::Shared(place) if shared.is_none() => shared = Some(place),
            File::Shared(_) => {
                return Err(fail("another --file is for all platforms, too".to_owned())
                    .with_hint(hints::platform_of_file()));
            }
            File::Each(template) if each.is_none() => each = Some(template),
            File::Each(_) => return Err(fail("another --file has braces, too".to_owned())),
            File::Own(platform, _) if !platforms.contains(&platform) => {
                let reason = format!("{platform} is not built");
                return Err(fail(reason).with_hint(hints::add_platform(platform)));
            }
            File::Own(platform, _) if own.iter().any(|other| other.platform == platform) => {
                return Err(fail(format!("{platform} has another --file already")));
            }
            File::Own(platform, place) => {
                own.push(OwnDockerfile { platform, place, is_optional: false });
            }
        }
    }
    for platform in platforms {
        if own.iter().any(|own| own.platform == *platform) {
            continue;
        }
        match &each {
            Some(template) => own.push(OwnDockerfile {
                platform: platform.clone(),
                place: context::dockerfile(Some(Path::new(&template.expand(platform)))),
                is_optional: shared.is_some(),
            }),
            None if own.is_empty() || shared.is_some() => {}
            None => {
                return Err(Problem::command_line(format!("no --file is for {platform}"))
                    .with_hint(hints::add_file(platform)));
            }
        }
    }
    Ok(Dockerfiles { shared: shared.unwrap_or(DockerfilePlace::InContext), own })
}

/// Reads one value. A file that exists is meant, whatever its name.
fn file(path: &Path) -> Result<File, String> {
    let text = match path.to_str() {
        Some(text) if !path.exists() => text,
        _ => return Ok(File::Shared(context::dockerfile(Some(path)))),
    };
    let assigned = text.split_once('=').and_then(|(left, right)| Some((left.parse().ok()?, right)));
    match assigned {
        Some((_, "")) => Err("a file is missing after \"=\"".to_owned()),
        Some((platform, right)) => {
            let expanded = Template::parse(right)?.map(|template| template.expand(&platform));
            let right = expanded.as_deref().unwrap_or(right);
            Ok(File::Own(platform, context::dockerfile(Some(Path::new(right)))))
        }
        None => Ok(match Template::parse(text)? {
            Some(template) => File::Each(template),
            None => File::Shared(context::dockerfile(Some(path))),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str], platforms: &[&str]) -> Result<Vec<String>, String> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let platforms: Vec<Platform> = platforms.iter().map(|p| p.parse().unwrap()).collect();
        let show = |place: &DockerfilePlace| match place {
            DockerfilePlace::File(path) => path.display().to_string(),
            other => format!("{other:?}"),
        };
        let found = parse(&files, &platforms).map_err(|problem| problem.message().to_owned())?;
        let own = found.own.iter().map(|own| {
            let mark = if own.is_optional { "?" } else { "" };
            format!("{}={}{mark}", own.platform, show(&own.place))
        });
        Ok(std::iter::once(show(&found.shared)).chain(own).collect())
    }

    #[test]
    fn each_platform_has_one_dockerfile() {
        let two = ["linux/amd64", "linux/arm/v7"];
        for (files, expected) in [
            (&[][..], &["InContext"][..]),
            (&["x"], &["x"]),
            (&["a=b"], &["a=b"]),
            (&["linux/arm=x", "y"], &["y", "linux/arm/v7=x"]),
            (&["x.{arch}"], &["InContext", "linux/amd64=x.amd64", "linux/arm/v7=x.arm32v7"]),
            (&["linux/amd64=y", "x.{goarch}", "z"], &["z", "linux/amd64=y", "linux/arm/v7=x.arm?"]),
            (
                &["linux/amd64=x.{platform}", "linux/arm=-"],
                &["InContext", "linux/amd64=x.linux-amd64", "linux/arm/v7=Stdin"],
            ),
        ] {
            assert_eq!(read(files, &two).unwrap(), expected, "{files:?}");
        }
        for (files, said) in [
            (&["x", "y"][..], "all platforms, too"),
            (&["linux/amd64=x"], "no --file is for linux/arm/v7"),
            (&["linux/s390x=x", "y"], "linux/s390x is not built"),
            (&["linux/arm/v7=x", "linux/arm=y", "z"], "has another --file"),
            (&["linux/arm=", "z"], "missing"),
            (&["x.{arc}"], "unknown {arc}"),
            (&["x.{arch}", "y.{arch}"], "braces, too"),
        ] {
            let error = read(files, &two).unwrap_err();
            assert!(error.contains(said), "{files:?}: {error}");
        }
    }
}

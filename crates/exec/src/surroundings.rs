//! The facts about what is around xbuild that advice depends on.

use std::{fmt, fs};

use serde::Serialize;

use crate::diagnose;

/// Where xbuild runs. The caller finds it out, from the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// No container that is known.
    #[default]
    Machine,
    /// A container of Docker.
    Docker,
    /// A container of Podman.
    Podman,
    /// A pod of Kubernetes.
    Kubernetes,
    /// A job of GitLab in a container of Docker.
    GitlabDocker,
    /// A job of GitLab in a pod.
    GitlabKubernetes,
    /// A job of Gitea in a container.
    Gitea,
    /// A step of Tekton, in a pod.
    Tekton,
    /// A job of GitHub in a container.
    GithubContainer,
    /// A job of GitHub on a machine.
    GithubMachine,
    /// Another container.
    Container,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "no container that is known",
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Kubernetes => "Kubernetes",
            Self::GitlabDocker => "GitLab, in a container",
            Self::GitlabKubernetes => "GitLab, in a pod",
            Self::Gitea => "Gitea",
            Self::Tekton => "Tekton",
            Self::GithubContainer => "GitHub Actions, in a container",
            Self::GithubMachine => "GitHub Actions",
            Self::Container => "a container",
        })
    }
}

/// The facts about what is around xbuild.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Surroundings {
    /// Where it runs.
    pub place: Place,
    /// Whether a filter of system calls is in force.
    pub seccomp: bool,
    /// The AppArmor profile that confines it.
    pub apparmor: Option<String>,
    /// Whether set-user-ID programs have no effect.
    pub no_new_privs: bool,
    /// The user id.
    pub uid: u32,
}

impl Surroundings {
    /// Reads the facts of this process.
    pub fn current(place: Place) -> Self {
        let field = |name: &str| diagnose::status_field(name).unwrap_or_default();
        let label = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];
        let label = label.iter().find_map(|path| fs::read_to_string(path).ok());
        Self {
            place,
            seccomp: field("Seccomp") == "2",
            apparmor: label.as_deref().and_then(confining),
            no_new_privs: field("NoNewPrivs") == "1",
            uid: rustix::process::geteuid().as_raw(),
        }
    }
}

/// Returns the profile in the text of a process's label, if it is enforced.
fn confining(label: &str) -> Option<String> {
    // A label of SELinux has another form.
    let profile = label.trim_matches(['\0', '\n', ' ']).strip_suffix(" (enforce)")?;
    (profile != "unconfined").then(|| profile.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_enforced_profile_confines() {
        assert_eq!(confining("docker-default (enforce)\n").as_deref(), Some("docker-default"));
        for label in ["unconfined\n", "x (complain)\n", "unconfined (enforce)", "system_u:r:t:s0"] {
            assert_eq!(confining(label), None, "{label}");
        }
    }
}

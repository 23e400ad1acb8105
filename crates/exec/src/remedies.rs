//! The settings of containers that let steps run. All advice that depends on where xbuild runs is
//! here.
//!
//! A pod does not see the Pod Security level of its namespace. The levels `baseline` and
//! `restricted` refuse a seccomp or AppArmor profile `Unconfined` as much as a privileged pod, but
//! allow a profile of the node (`Localhost`).
//!
//! **Source** — Kubernetes, Pod Security Standards; `docker run --help`; the configuration files of
//! GitLab's runner and Gitea's act_runner; GitHub's workflow syntax, `jobs.<job_id>.container`.

use xbuild_wording::{Hint, hints, quoted};

use crate::surroundings::{Place, Surroundings};

/// Returns the setting that gives steps user namespaces and mounts where something around xbuild
/// refuses them; `None` outside of known containers.
pub(crate) fn of(around: &Surroundings) -> Option<Hint> {
    let options = || security_options(around);
    Some(match around.place {
        Place::Machine | Place::GithubMachine => return None,
        Place::Docker => hints::of_docker(options().join(" ")),
        Place::Podman => hints::of_podman(options().join(" ")),
        Place::Container => hints::of_container(options().join(" ")),
        Place::GitlabDocker => {
            let values: Vec<String> =
                unconfined(around, ":").map(|v| quoted(&v).to_string()).collect();
            hints::of_gitlab_docker(values.join(", "))
        }
        Place::Gitea => hints::of_gitea(options().join(" ")),
        Place::GithubContainer => hints::of_github(options().join(" ")),
        Place::Kubernetes => hints::of_kubernetes(pod(around)),
        Place::GitlabKubernetes => hints::of_gitlab_kubernetes(pod(around)),
        Place::Tekton => hints::of_tekton(pod(around)),
    })
}

/// Returns the protections to switch off, as engines name them.
fn unconfined(around: &Surroundings, equals: &'static str) -> impl Iterator<Item = String> {
    // A label that cannot be read may still be in force, so only a filter without a profile is sure
    // to be alone.
    let apparmor = around.apparmor.is_some() || !around.seccomp;
    let names = [("seccomp", around.seccomp || !apparmor), ("apparmor", apparmor)];
    names
        .into_iter()
        .filter(|(_, used)| *used)
        .map(move |(name, _)| format!("{name}{equals}unconfined"))
}

fn security_options(around: &Surroundings) -> Vec<String> {
    unconfined(around, "=").map(|value| format!("--security-opt {value}")).collect()
}

/// Returns the setting of a pod.
fn pod(around: &Surroundings) -> String {
    let mut kinds = Vec::new();
    if around.seccomp {
        kinds.push("seccompProfile");
    }
    if around.apparmor.is_some() || !around.seccomp {
        kinds.push("appArmorProfile");
    }
    let each = |text: &str| {
        kinds.iter().map(|kind| format!("{kind}: {{{text}}}")).collect::<Vec<_>>().join(" and ")
    };
    let node = format!(
        "securityContext with {}, profiles on the node that allow unshare, clone, mount, \
         move_mount, fsopen, open_tree, mount_setattr, pivot_root and sethostname",
        each("type: Localhost, localhostProfile: xbuild")
    );
    // The level `restricted` demands this of every pod.
    if around.no_new_privs && around.uid != 0 && around.seccomp {
        return node;
    }
    format!(
        "hostUsers: false, and securityContext with {}; at the Pod Security levels baseline and \
         restricted, which refuse that: {node}",
        each("type: Unconfined")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(place: Place, seccomp: bool, apparmor: bool) -> Surroundings {
        let apparmor = apparmor.then(|| "docker-default".to_owned());
        Surroundings { place, seccomp, apparmor, ..Surroundings::default() }
    }

    #[test]
    fn both_protections_are_named_where_both_are_in_force() {
        for (place, parts) in [
            (Place::Docker, &["docker run", "seccomp=unconfined", "apparmor=unconfined"][..]),
            (Place::Podman, &["podman run", "seccomp=unconfined"]),
            (Place::GitlabDocker, &["security_opt", "\"seccomp:unconfined\", \"apparmor:unco"]),
            (Place::Gitea, &["act_runner", "seccomp=unconfined", "apparmor=unconfined"]),
            (Place::GithubContainer, &["options: --security-opt seccomp=unconfined"]),
            (Place::Kubernetes, &["hostUsers: false", "seccompProfile", "appArmorProfile"]),
            (Place::Tekton, &["podTemplate", "hostUsers: false"]),
            (Place::GitlabKubernetes, &["pod_spec", "hostUsers: false"]),
        ] {
            let text = of(&around(place, true, true)).unwrap();
            assert!(parts.iter().all(|part| text.contains(part)), "{place:?}: {text}");
            assert!(!text.contains("privileged:") && !text.contains("--privileged"), "{text}");
            let text = of(&around(place, true, false)).unwrap().to_lowercase();
            assert!(!text.contains("apparmor") && text.contains("seccomp"), "{text}");
            let text = of(&around(place, false, true)).unwrap().to_lowercase();
            assert!(text.contains("apparmor") && !text.contains("seccomp"), "{text}");
        }
        assert_eq!(of(&around(Place::Machine, true, true)), None);
    }

    #[test]
    fn a_restricted_pod_gets_no_advice_that_its_namespace_refuses() {
        let facts = around(Place::Kubernetes, true, false);
        let restricted = Surroundings { no_new_privs: true, uid: 1_000_660_000, ..facts.clone() };
        let text = of(&restricted).unwrap();
        assert!(text.contains("Localhost") && !text.contains("Unconfined"), "{text}");
        let text = of(&facts).unwrap();
        assert!(text.contains("Localhost") && text.contains("Unconfined"), "{text}");
    }
}

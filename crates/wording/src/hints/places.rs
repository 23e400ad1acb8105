//! The settings of containers, pods and CI jobs that let steps run.

hints! {
    of_docker(options) = "docker run {options}";
    of_podman(options) = "podman run {options}";
    of_container(options) = "start the container without a system call filter and a profile of AppArmor \
        (docker run {options})";
    of_gitlab_docker(values) = "in the runner's config.toml, [runners.docker]: security_opt = [{values}]";
    of_gitea(options) = "in act_runner's config.yaml: container.options: \"{options}\"";
    of_github(options) = "in the workflow, container: options: {options}";
    of_kubernetes(pod) = "in the pod: {pod}";
    of_gitlab_kubernetes(pod) = "in the runner's config.toml, a patch of the pod \
        ([[runners.kubernetes.pod_spec]]): {pod}";
    of_tekton(pod) = "in the TaskRun's podTemplate: {pod}";
}

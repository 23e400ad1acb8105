//! Dockerfiles and build contexts.

hints! {
    stage_for_variable() = "name a stage with FROM, where a global ARG expands, and copy from that";
    built_in_frontend() = "frontend images are not run; the dialect of docker/dockerfile is built in";
    heredoc_without_blank(name) = "write <<{name}";
    variables_of_from() = "only ARG above the first FROM, and the BUILD and TARGET variables, expand in \
        FROM";
    no_stage_has_a_name() = "no stage has a name; name one with FROM ... AS NAME";
    stages(names) = "the stages are {names}";
    one_epoch() = "give one time to all of them: --build-arg SOURCE_DATE_EPOCH=SECONDS";
    use_add() = "use ADD";
    move_stage_up() = "move that stage up";
    folder_below() = "name a folder below it";
    check_says_error() = "the file, or the build argument BUILDKIT_DOCKERFILE_CHECK, says error=true";
    ignored() = "the ignore file leaves it out of the build context";
    dockerfile_of_platform(platform) = "name one for it with --file {platform}=FILE";
    dockerfile_beside_archive() = "name a Dockerfile with --file";
    name_dockerfile() = "name it with --file";
    another_dockerfile() = "name another one with --file, or `dockerfile` of a target of a bake file";
    save_as_utf8() = "save it as UTF-8: `iconv -f UTF-16 -t UTF-8` converts it";
    mostly_zeros() = "leave out files that are mostly zeros, or make them when the container starts";
    git_logins() = "a private repository needs --secret id=GIT_AUTH_TOKEN,.. for https (for a bake file the \
        variable BUILDX_BAKE_GIT_AUTH_TOKEN), or a running SSH agent and a known host for ssh";
    install_git() = "install git";
    whole_commit() = "a commit is named by all of its digits";
}

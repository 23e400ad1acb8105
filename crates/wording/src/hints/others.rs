//! What takes the place of commands of other builders.

hints! {
    no_builders() = "there are no builder instances: xbuild itself builds, with no set-up";
    no_containers() = "there are no containers: `xbuild run IMAGE COMMAND` runs a command in an image \
        and keeps nothing of it";
    no_records() = "past builds are not kept: `xbuild build --log-file FILE` and --timeline FILE write \
        what happened, `xbuild inspect IMAGE` shows layers";
    no_scripts() = "images are made from Dockerfiles alone: `xbuild build`";
    instead_of_bud() = "use `xbuild build`";
    instead_of_builder() = "use `xbuild prune` and `xbuild du`";
    instead_of_buildx() = "leave the word out: its commands are those of xbuild";
    instead_of_compose() = "use `xbuild compose-build`";
    instead_of_cp() = "use `xbuild copy` for images, `xbuild build --output FOLDER` for files";
    instead_of_debug() = "use `xbuild build --on-error shell`";
    instead_of_delete() = "use `xbuild rmi` for the store; a registry has its own way";
    instead_of_export() = "use `xbuild build --output type=tar,dest=FILE`";
    instead_of_image() = "use `xbuild images`, `xbuild inspect`, `xbuild pull`, `xbuild push`, \
        `xbuild rmi`, `xbuild tag`, `xbuild save` and `xbuild load`";
    instead_of_import() = "use `ADD FILE.tar /` in a Dockerfile";
    instead_of_info() = "use `xbuild doctor`";
    instead_of_install() = "there is nothing to install or to remove but the file xbuild";
    instead_of_lists() = "the registry knows what it has: ask it";
    instead_of_mount() = "use `xbuild build --output FOLDER`";
    instead_of_policy() = "policies in Rego are not implemented: use --source-policy-file";
    instead_of_sync() = "use `xbuild copy`, one image each";
    instead_of_unshare() = "xbuild makes its namespaces itself";
}

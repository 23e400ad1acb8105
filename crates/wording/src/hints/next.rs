//! What may be done next, with a result or with what a list shows.

hints! {
    run_pushed(name) = "{name} is in its registry: `xbuild run {name}`";
    run_or_push(name) = "{name} is in the store: `xbuild run {name}`, or `xbuild push {name}`";
    load_archive(path) = "{path}: `xbuild load --input {path}`";
    run_layout(path) = "{path}: `xbuild run oci-layout://{path}`";
    list_files(path) = "{path}: `tar tf {path}`";
    look_into(path) = "the files are in {path}";
    name_it(digest) = "`xbuild tag {digest} NAME`";
    check_shows_all() = "`xbuild check` shows them all";
    install_other_emulator() = "`xbuild emulators install` takes another version";
    no_emulators_yet() = "none: `xbuild emulators install` gets them";
}

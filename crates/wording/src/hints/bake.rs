//! Bake files.

hints! {
    clone_and_bake() = "clone the repository and bake its file";
    add_flags(flags) = "add {flags}";
    folder_or_inline() = "use a folder, or dockerfile-inline";
    outputs_to_files() = "give them files: dest=FILE";
}

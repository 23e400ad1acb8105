//! Bake files.

hints! {
    repository_or_archive() = "use a repository, or the whole archive as the context";
    folder_behind_reference() = "name the folder behind # as REF:FOLDER";
    add_flags(flags) = "add {flags}";
    folder_or_inline() = "use a folder, or dockerfile-inline";
    outputs_to_files() = "give them files: dest=FILE";
}

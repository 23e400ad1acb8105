//! The configuration file.

hints! {
    config_shows_and_changes() = "`xbuild config` shows and changes the file";
    config_names_the_line() = "`xbuild config list` names the line";
    config_elsewhere() = "the variable XBUILD_CONFIG names a file";
    named_on_the_line() = "it is named on the command line";
    belongs_to_a_call() = "it belongs to a single call";
    table_of_options(name) = "its options go into the table [{name}]";
    default_in_file(option, place) = "{option} has a default in {place}";
    and_default_in_file(hint, option, place) = "{hint}; {option} has a default in {place}";
    registries_in_file() = "write them into the file: docs/registries.md";
    one_dockerfile() = "name it alone: --file FILE, with one --platform";
}

//! The configuration file.

hints! {
    config_shows_and_changes() = "`xbuild config` shows and changes the file";
    config_names_the_line() = "`xbuild config list` names the line";
    config_elsewhere() = "the variable XBUILD_CONFIG names a file";
    named_on_the_line() = "it is named on the command line";
    belongs_to_a_call() = "it belongs to a single call";
    table_of_options(name) = "its options go into the table [{name}]";
    default_in_file(option, place) = "{option} has a default in {place}";
    from_variable(option, name) = "{option} comes from the variable {name}";
    option_of_registry() = "name an option of a registry: registry.\"HOST\".mirrors";
    header_of_registry(key) = "name the header behind it: {key}.NAME";
    one_dockerfile() = "name it alone: --file FILE, with one --platform";
}

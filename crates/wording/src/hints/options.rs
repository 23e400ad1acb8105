//! The command line.

hints! {
    archive_to_file() = "name a file: dest=FILE, or send standard output elsewhere";
    file_in_folder() = "name a file in it";
    make_folder(folder) = "make it first: mkdir -p {folder}";
    platform_of_file() = "say for which platform it is: --file PLATFORM=FILE";
    add_platform(platform) = "add --platform {platform}";
    add_file(platform) = "add --file {platform}=FILE, or --file FILE for all that have none";
    form_of_secret() = "write id=ID,src=FILE or id=ID,env=VARIABLE";
    form_of_log() = "write LEVEL or CRATE=LEVEL, joined by commas; the levels are off, error, warn, \
        info, debug and trace";
    form_of_until() = "TIME is a duration such as 24h or 7d; no other filter is implemented";
    options_of_guises() = "docs/flags.md lists the options that are taken";
    commands_beside_bud() = "xbuild has images, inspect, login, manifest, pull, push, rmi and tag";
    rest_is(line) = "the rest is: xbuild {line}";
    progress_without_terminal() = "--progress plain writes lines, --progress auto chooses";
    give_secret(id) = "give it with --secret id={id},src=FILE or --secret id={id},env=VARIABLE";
    give_default_agent() = "give it with --ssh default, which takes that of SSH_AUTH_SOCK";
    give_agent(id) = "give it with --ssh {id}=SOCKET or --ssh {id}=KEY";
    secret_as_file() = "mount it as a file, with target=";
    start_agent(id) = "start an agent, or name a key: --ssh {id}=FILE";
    key_with_passphrase() = "add a key with a passphrase to your own agent, and give that: --ssh default";
    install_ssh() = "install openssh-client, or give the socket of an agent";
}

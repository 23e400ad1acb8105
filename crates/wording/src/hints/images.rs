//! Images of the store, outputs, and programs that load images.

hints! {
    own_files() = "give each of them a file of its own";
    index_of_one() = "--build-arg BUILDKIT_MULTI_PLATFORM=1 makes an index of a single platform, too";
    as_it_was() = "the store has the image as it was when it was last asked for: --pull=missing takes \
        that";
    image_is_in_store(name) = "the store has an image of that name: `xbuild index inspect --local {name}`";
    pull_first(platform, name) = "get it first: `xbuild pull --platform {platform} {name}`";
    build_for_platform(platform, name) = "build it for that platform too: --platform {platform} -t \
        {name}";
    build_or_pull_again() = "build or pull it again";
    build_or_pull_image_again() = "build or pull the image again";
    one_platform_or_oci() = "choose one with --platform, or the OCI format";
    leave_one_out() = "leave one out, or choose with --platform";
    images_are_listed() = "`xbuild images` lists what it has";
    name_of_image() = "give it one with --tag";
    platform_in_name() = "{{arch}} and {{platform}} in a tag differ for all platforms; {{goarch}} does \
        not tell variants apart";
    tag_later() = "leave out the tag: the repository is that of name=; tag it later with \
        `xbuild index create`";
    no_docker_types() = "leave out oci-mediatypes=false";
    other_statement_path() = "choose another one: attestation-prefix=PREFIX of the output, or \
        filename=NAME of --provenance";
    name_each() = "give each one name=NAME; the first gets the names of --tag";
    compress_all() = "leave out oci-mediatypes=false, or compress the layers of base images, too: \
        force-compression=true";
    start_docker() = "start the daemon, or set DOCKER_HOST=unix:///PATH; or write an archive: -o \
        type=docker,dest=FILE, then docker load -i FILE";
    try_docker() = "see whether docker info works; or write an archive: -o type=docker,dest=FILE, then \
        docker load -i FILE";
    docker_loads() = "let docker's own client load it: -o type=docker,dest=- | docker load";
    platform_of_image() = "name the platform of the image with --platform";
    only_times_differ() = "only times differ: they are the same each time if the image was built, and \
        is verified, with SOURCE_DATE_EPOCH and --output type=image,rewrite-timestamp=true";
    amend_or_forget() = "--amend adds to it; `xbuild manifest rm` forgets it";
    annotate_descriptor() = "use manifest-descriptor: for the entry of the index, or index:";
    everything_as_json() = "--format '{{{{json .}}}}' has everything, for jq";
    lock_adds() = "`xbuild lock` adds what is missing";
    lock_makes() = "`xbuild lock`, with the arguments of the build, makes it";
}

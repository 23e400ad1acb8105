//! Registries, web servers and logins.

hints! {
    name_user() = "name the user with --username";
    pipe_password() = "pipe it in: --password-stdin < FILE";
    repository_and_login(registry) = "log in with `xbuild login {registry}`, or check the name of the repository \
        and the rights of your login";
    user_and_password() = "check the user and the password; some registries take a token in place of \
        the password";
    name_that_url() = "if you trust what is there, name that URL itself; a proxy hides where servers \
        are, so name servers of your own network in NO_PROXY";
    use_https() = "use HTTPS, or allow credentials over plain HTTP for this registry";
    no_tls() = "the server does not speak TLS; if you trust the network, name it with \
        --registry-insecure HOST[:PORT]";
    trust_certificate() = "if you trust the server, add the certificate of its authority to the \
        system's, or as ~/.docker/certs.d/HOST:PORT/ca.crt; --registry-insecure HOST[:PORT] checks none";
    rate_limit() = "the registry limits the rate of requests; log in, or try again later";
    foreign_layer() = "if the layer's licence allows it, push it as an ordinary one: \
        --output type=image,push=true,prefer-nondist-layers=false";
    immutable_tag() = "the registry does not let this tag name another image: choose another tag, or \
        allow it in the settings of the repository";
    docker_config() = "set DOCKER_CONFIG to a folder";
}

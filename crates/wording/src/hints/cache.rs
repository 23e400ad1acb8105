//! Shared caches.

hints! {
    cache_keys() = "a cache is signed with a PEM file of `openssl genpkey -algorithm ed25519`, and \
        read with one of `openssl pkey -pubout`";
    cache_lifecycle() = "give the repository a lifecycle rule that removes tags c1-*, t1-* and m1-* \
        some weeks after their last push: trails are pushed by each build, and keep the layers of \
        their steps; or allow deletion in the registry's settings";
}

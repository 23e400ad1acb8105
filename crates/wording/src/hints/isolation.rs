//! User namespaces, mounts and networks of steps.

hints! {
    doctor() = "`xbuild doctor` shows what this machine allows";
    doctor_shows_all(hint) = "{hint}. `xbuild doctor` shows all that is possible here";
    doctor_on_mounts() = "`xbuild doctor` says what an isolation with mounts needs";
    see_the_rungs() = "see the rungs";
    leave_out_none() = "leave out --isolation none";
    user_namespaces_off() = "user namespaces are switched off: sysctl user.max_user_namespaces is 0, set \
        it to 15000, say";
    user_namespaces_for_users() = "ordinary users may not create user namespaces: set sysctl \
        kernel.unprivileged_userns_clone=1";
    namespace_limits(limits) = "too many namespaces of this user or container, or too many within each \
        other: raise {limits}";
    filter_refuses_namespaces() = "a system call filter is in force around xbuild, most likely a \
        container's: it must allow unshare and mount (docker run --security-opt seccomp=unconfined, or \
        a pod with hostUsers: false and an Unconfined seccompProfile)";
    filter_refuses_mounts() = "a system call filter is in force around xbuild, most likely a \
        container's: it must allow mount, fsopen, move_mount and pivot_root";
    chroot_around() = "xbuild may be running inside a chroot, where the kernel refuses user namespaces, \
        or a security module forbids them";
    not_in_kernel() = "the kernel is built without this kind of namespace";
    new_mount_calls() = "use Linux 5.2 or newer, which has the mount calls fsopen, open_tree and \
        move_mount; a system call filter around xbuild must allow them";
    apparmor() = "AppArmor takes the rights away that a user namespace gives: set sysctl \
        kernel.apparmor_restrict_unprivileged_userns=0, or load a profile for xbuild that has `userns,`";
    subordinate_ids() = "check the user's lines in /etc/subuid and /etc/subgid, and that newuidmap and \
        newgidmap are set-user-ID root; --isolation userns-single does without them";
    outside_namespace() = "start xbuild outside of that namespace, such as one of `unshare -Ur`";
    outside_namespace_or_range() = "start xbuild outside of that namespace, or give it a range of ids \
        (unshare --map-auto, or hostUsers: false of a pod)";
    range_of_ids(ids, user) = "give the user a range of ids, as root: usermod --add-subuids {ids} \
        --add-subgids {ids} {user}; and install newuidmap (package uidmap)";
    range_for_user() = "a range of user ids is needed for USER: give the calling user one in \
        /etc/subuid and /etc/subgid and install newuidmap (package uidmap)";
    within_range() = "the ids must be within the range that /etc/subuid and /etc/subgid give";
    new_privileges() = "start xbuild without no_new_privs (allowPrivilegeEscalation: true)";
    install_uidmap() = "install newuidmap and newgidmap (package uidmap)";
    root_of_container() = "run xbuild as root of its container (docker run --user 0, runAsUser: 0)";
    capabilities(names) = "give the container these capabilities, which are in the default list of \
        container engines (docker run --cap-add {names}, or securityContext.capabilities.add of a pod)";
    own_image() = "use the image of xbuild, or set XBUILD_OWN_ROOT=1 in a container that has nothing \
        but xbuild in /xbuild: all other files in its root are removed";
    wait_for_root() = "wait for it, or start a container for each build";
    store_in_root() = "put the store in the root, as /xbuild/store, with --root or XBUILD_ROOT";
    writable_root() = "start the container with a root file system that can be written";
    another_rung() = "another rung can do it, see --isolation; `xbuild platforms` says what the others \
        need";
    network_of_host() = "use --network host, or an isolation that can mount";
    tun_device(device) = "let users open it, as udev does (chmod 666 {device}), or give it to the \
        container (--device {device})";
    network_none() = "leave --network=none out, or use an isolation with user namespaces";
    install_pasta() = "install pasta (package passt), or use --network host";
    pasta_must_work() = "pasta (package passt) must work for this user; --network host does without";
    mount_cache_once() = "mount it once, and make links to it in the command";
    secret_as_variable() = "give it as a variable (env=), or leave --security=insecure out";
}

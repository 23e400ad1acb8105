//! Emulators, and platforms that need one.

hints! {
    other_emulators() = "name another source: an image, oci-layout://DIR, a folder or file with static \
        QEMU programs, or PATH";
    platform_of_emulator() = "name the platform, such as --platform linux/arm64";
    emulators_are_listed() = "`xbuild emulators ls` lists them";
    platforms_with_emulators(names) = "platforms with emulators: {names}";
    install_emulator(name, qemu) = "run `xbuild emulators install --platform linux/{name}`, which \
        needs no root, or install QEMU's static user emulators (package qemu-user-static, or \
        qemu-user-static-{qemu} where each has its own)";
    install_emulator_again(name) = "run `xbuild emulators install --platform linux/{name}` again, or \
        `xbuild emulators rm {name}`";
    install_or_one_by_one(platform) = "run `xbuild emulators install --platform {platform}`, or build \
        the platforms one by one";
    reinstall_emulator() = "remove it with `xbuild emulators rm`, then install it again with \
        `xbuild emulators install`";
    other_qemu() = "get another version of QEMU, 6.0 or newer: `xbuild emulators install` takes it \
        from an image";
    host_registration() = "leave out --emulation host, use a newer kernel, or have the administrator register \
        emulators with the flag F for the whole machine (packages qemu-user-static and binfmt-support)";
    load_binfmt() = "load the module binfmt_misc";
    rung_with_mounts() = "choose a rung with mounts (--isolation userns-range or userns-single)";
    allow_ptrace() = "allow ptrace and seccomp: a system call filter of a container around xbuild, or \
        sysctl kernel.yama.ptrace_scope=3, forbids them";
    build_without_run() = "build it without RUN, or run the command on another platform \
        (FROM --platform=$BUILDPLATFORM) and COPY its result";
    newer_machine() = "build on a newer machine, or for a lower level";
    lower_level() = "build on an amd64 machine, or for linux/amd64/v2 or lower";
    without_cross() = "leave out --emulation cross, or compile in a stage `FROM --platform=$BUILDPLATFORM`; \
        Debian 13 has its compilers and cross compilers in the same versions";
    report_twin() = "please report it, with the packages of the base image: a program must leave the \
        list of those that run natively. --emulation qemu builds without it. A step that differs from \
        run to run by itself, by random keys for instance, differs here, too";
}

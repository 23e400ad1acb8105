//! RUN steps that fail.

hints! {
    off_noexec() = "put the store on a file system without noexec, with --root or XBUILD_ROOT";
    sources_of_mounts() = "sources are paths from the root there; what the ignore file excludes is no \
        part of a build context";
    hard_limit() = "an ordinary user may lower a hard limit but not raise it; raise it for xbuild's own \
        session first";
    long_scripts() = "a script of any length runs in a shell such as sh or bash, or as a heredoc that \
        begins with #!; other long texts can be files: COPY them, or mount them";
    format_of_program() = "`xbuild platforms` shows which platforms this machine can run; a script \
        needs #! in its first line";
    port_in_use() = "the port may be in use by another step or program, since steps share the network \
        of this machine: --network private gives each step one of its own";
    no_room() = "the files of steps are in the store: `xbuild du` shows what it has, \
        `xbuild prune --max-used-space SIZE` makes room, --root puts it on another disk; /dev/shm has \
        the size of --shm-size";
    exit_126() = "126 is a shell's code for what it cannot execute: a file without execute permission, \
        or a program of another platform";
    exit_127() = "127 is a shell's code for a command that it cannot find: install it in the image, or \
        add its folder to PATH";
    memory() = "this is often a lack of memory: give the build more, or let it do fewer steps at a time \
        (--jobs)";
    newer_qemu() = "this may be the emulator's fault: try a newer QEMU (`xbuild emulators install`), or \
        run the command on this machine's own platform (FROM --platform=$BUILDPLATFORM) and compile for \
        the other one";
}

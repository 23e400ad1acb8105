//! Disks and limits of this machine.

hints! {
    disk_full() = "the disk is full, or has no inodes left (`df -i`): make room on it; \
        `xbuild prune --max-used-space SIZE` removes what the store has cached";
    quota_used_up() = "the disk quota is used up: raise it or make room; \
        `xbuild prune --max-used-space SIZE` removes what the store has cached";
    disk_broken() = "the disk cannot be read or written: the kernel's log says what is wrong with it; \
        `xbuild prune --all` removes all that the store has cached";
    file_too_large() = "a file would be larger than this user may write: raise `ulimit -f`; without such a \
        limit, the file system holds no larger files";
    no_more_processes() = "no more processes or threads may be started: raise `ulimit -u`, or the pids \
        limit of the container or service, or end other programs of this user";
    no_more_files() = "no more files may be open at once: raise the hard limit (`ulimit -Hn`), or build \
        with fewer --jobs";
    no_more_files_of_machine() = "the machine has too many open files: raise the sysctl fs.file-max, or \
        end other programs";
    stack_limit() = "raise the limit: `ulimit -Hs 8192`, as root or in the limits of the service";
    processes_and_memory() = "raise the limits on processes and memory";
    less_busy() = "try again on a less busy machine";
}
